import { validateHeaderName, validateHeaderValue, type OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isCacheHeader } from './cache-headers.ts'
import { keepFrameAncestors } from './frame-ancestors.ts'

/** They describe another body than ours, or have a proxy send another one. */
const OF_ANOTHER_BODY = new Set([
  'accept-ranges',
  'content-digest',
  'content-disposition',
  'content-encoding',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'digest',
  'refresh',
  'repr-digest',
  'trailer',
  'transfer-encoding',
  'x-accel-redirect',
  'x-sendfile'
])

/** They are about the connection: HTTP/2 has none, and Node rejects the whole answer for them (RFC 9113, 8.2.2). */
const OF_CONNECTION = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade'
])

/** What a script of another origin may read of a blocked answer (Fetch, CORS-exposed header names). */
const EXPOSED = 'Retry-After, Maintenance-Mode'

/**
 * Our headers, and those that earlier `onRequest` hooks set (CORS, helmet, a request id), which the answer would
 * lose otherwise. Ours win; lists are joined. What does not belong to our answer is removed from the raw response, too.
 * @returns `null` if ours are all
 */
export function mergeHeaders (
  own: OutgoingHttpHeaders,
  request: FastifyRequest,
  reply: FastifyReply
): OutgoingHttpHeaders | null {
  const foreign = reply.getHeaders() as OutgoingHttpHeaders
  const upgrade = isUpgrade(request)
  if (!upgrade && Object.keys(foreign).length === 0) return null
  const headers: OutgoingHttpHeaders = {}
  for (const [name, value] of Object.entries(foreign)) {
    if (belongs(name, request) && isValid(name, value)) headers[name] = value
    else if (reply.raw.hasHeader(name)) reply.raw.removeHeader(name)
  }
  const { vary } = headers
  const policy = own['content-security-policy']
  const framed = typeof policy === 'string' ? { 'content-security-policy': keepFrameAncestors(policy, headers) } : {}
  Object.assign(headers, own, framed)
  if (vary !== undefined) headers.vary = joinLists(own.vary, vary)
  expose(headers)
  if (upgrade) headers.connection = 'close'
  return headers
}

const belongs = (name: string, { raw }: FastifyRequest): boolean =>
  !OF_ANOTHER_BODY.has(name) && !isCacheHeader(name) && (raw.httpVersionMajor === 1 || !OF_CONNECTION.has(name))

/** Would Node send it? One that it rejects would cost the whole answer. */
function isValid (name: string, value: unknown): boolean {
  try {
    validateHeaderName(name)
    for (const part of [value].flat()) {
      // HTTP/2 rejects null, too
      if (part === null) return false
      validateHeaderValue(name, part as string)
    }
    return true
  } catch {
    return false
  }
}

/** Scripts of other origins can read these, if they can read the answer at all. */
function expose (headers: OutgoingHttpHeaders): void {
  if (headers['access-control-allow-origin'] === undefined) return
  headers['access-control-expose-headers'] = joinLists(EXPOSED, headers['access-control-expose-headers'])
}

/**
 * A client that asks for WebSocket or the like; HTTP/2 knows neither the header nor `Connection` (RFC 9113 section
 * 8.2.2).
 */
export function isUpgrade ({ raw }: FastifyRequest): boolean {
  return raw.headers.upgrade !== undefined && raw.httpVersionMajor === 1
}

/** Two comma-separated lists as one, each name once. */
export function joinLists (...lists: unknown[]): string {
  const names = new Map(
    lists.flatMap(list => String(list ?? '').split(',')).map(name => [name.trim().toLowerCase(), name.trim()])
  )
  names.delete('')
  return [...names.values()].join(', ')
}
