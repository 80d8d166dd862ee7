import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** What would say something of another body, or make it a 304, 206 or 412. */
const NOT_OF_THIS_BODY = ['etag', 'last-modified', 'content-range', 'accept-ranges', 'content-encoding', 'transfer-encoding', 'trailer']

/** What a script of another origin may read of a refusal (Fetch, CORS-exposed header names). */
const EXPOSED = 'Retry-After, Maintenance-Mode'

/**
 * Our headers with those that earlier `onRequest` hooks set (CORS, helmet, a request id), which a refusal
 * would lose otherwise. Ours win; lists are joined.
 * @returns `null` where ours are all
 */
export function withForeignHeaders (own: OutgoingHttpHeaders, request: FastifyRequest, reply: FastifyReply): OutgoingHttpHeaders | null {
  const foreign = reply.getHeaders() as OutgoingHttpHeaders
  const upgrade = isUpgrade(request)
  if (!upgrade && Object.keys(foreign).length === 0) return null
  const headers = { ...foreign, ...own }
  for (const name of NOT_OF_THIS_BODY) delete headers[name]
  if (foreign.vary !== undefined) headers.vary = join(own.vary, foreign.vary)
  if (foreign['access-control-allow-origin'] !== undefined) {
    headers['access-control-expose-headers'] = join(EXPOSED, foreign['access-control-expose-headers'])
  }
  if (upgrade) headers.connection = 'close'
  return headers
}

/** A client that asks for WebSocket or the like; HTTP/2 knows neither the header nor `Connection` (RFC 9113 section 8.2.2). */
export function isUpgrade ({ raw }: FastifyRequest): boolean {
  return raw.headers.upgrade !== undefined && raw.httpVersionMajor === 1
}

/** Two comma-separated lists as one, each name once. */
function join (...lists: OutgoingHttpHeaders[string][]): string {
  const names = new Map(lists.flatMap(list => String(list ?? '').split(',')).map(name => [name.trim().toLowerCase(), name.trim()]))
  names.delete('')
  return [...names.values()].join(', ')
}
