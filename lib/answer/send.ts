import { ServerResponse, type OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { hasBegun } from '../util/replied.ts'
import type { Body } from './bodies.ts'
import { isUpgrade, mergeHeaders } from './merge-headers.ts'

type Raw = FastifyReply['raw']

/** Node's own, before anybody else can have replaced it. */
export const { writeHead, end } = ServerResponse.prototype

/**
 * Sends a blocked answer, unless somebody else has begun to answer. Never throws: if others stand in the way (a header,
 * a `writeHead` of their own), they are left out; if that fails too, the connection is closed.
 */
export function send (body: Body, request: FastifyRequest, reply: FastifyReply): void {
  const { raw } = reply
  /* c8 ignore next -- somebody else begins in the very moment in which a page with its own data is ready */
  if (hasBegun(raw)) return
  try {
    // that of another answer; Node writes the one of the status code. HTTP/2 has none, and warns
    if (request.raw.httpVersionMajor === 1) raw.statusMessage = ''
    // a plugin that took over the upgrade may never close the socket, and no HTTP follows on it
    if (isUpgrade(request)) raw.once('finish', () => request.raw.socket.destroySoon())
    write(body, mergeHeaders(body.headers, request, reply), request, raw)
  } catch (error) {
    sendAlone(body, request, raw)
    request.log.warn({ err: error }, 'maintenance: the headers of other hooks could not be sent with the answer')
  }
  seal(raw)
}

/** @param merged `null`: nobody else has set a header */
function write (
  { statusCode, headers, list, content }: Body,
  merged: OutgoingHttpHeaders | null,
  request: FastifyRequest,
  raw: Raw
): void {
  // others (HTTP/2, old on-headers, bridges of Lambda) may know neither lists nor text that stands for bytes
  const own = raw.writeHead === writeHead && raw.end === end
  if (!raw.headersSent) raw.writeHead(statusCode, merged ?? (own ? (list as string[]) : { ...headers }))
  if (request.method === 'HEAD') raw.end()
  else if (own) raw.end(content, 'latin1')
  else raw.end(typeof content === 'string' ? Buffer.from(content, 'latin1') : content)
}

/** With nothing from others: no header, and Node's own functions. */
function sendAlone (body: Body, request: FastifyRequest, raw: Raw): void {
  try {
    for (const name of ['writeHead', 'write', 'end']) Reflect.deleteProperty(raw, name)
    if (!raw.headersSent) for (const name of raw.getHeaderNames()) raw.removeHeader(name)
    write(body, isUpgrade(request) ? { ...body.headers, connection: 'close' } : null, request, raw)
  } catch (error) {
    raw.destroy()
    request.log.error({ err: error }, 'maintenance: no answer could be sent, the connection is closed')
  }
}

/** Answers of others that come later do nothing. Written behind ours, each would be an error that ends the process. */
function seal (raw: Raw): void {
  if (!raw.writableEnded) return
  const sealed = raw as { -readonly [name in 'setHeader' | 'writeHead' | 'write' | 'end']: unknown }
  // one by one: `Object.assign` costs as much as half of the answer
  sealed.setHeader = sealed.writeHead = sealed.write = sealed.end = ignored
}

function ignored (this: unknown): unknown {
  return this
}
