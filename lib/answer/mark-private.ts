import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { FastifyReply } from 'fastify'
import { isCacheHeader } from './cache-headers.ts'
import { expose } from './merge-headers.ts'

export type Marks = Readonly<Record<string, string>>

type WriteHead = (this: ServerResponse, statusCode: number, ...rest: unknown[]) => ServerResponse
type Respond = (this: ServerHttp2Stream, ...args: unknown[]) => void

/** What sends the headers of an HTTP/2 stream, and where it takes them. Node's own response goes through the first. */
const RESPONDERS = [['respond', 0], ['respondWithFile', 1], ['respondWithFD', 1]] as const

/**
 * The few who may look inside a closed site see what no cache may keep for the public. The headers change when
 * they are written, after all hooks and handlers, so that nothing in the application can overrule them; only such
 * requests pay for it.
 * @param marks headers that say what it is
 */
export function markPrivate ({ raw }: FastifyReply, marks: Marks): void {
  const { stream } = raw as { stream?: ServerHttp2Stream }
  if (stream === undefined) markResponse(raw, marks)
  else markStream(stream, marks)
}

function markResponse (raw: ServerResponse, marks: Marks): void {
  const writeHead = raw.writeHead as WriteHead
  raw.writeHead = function writePrivateHead (statusCode: number, reason?: unknown, given?: unknown) {
    if (raw.headersSent) return writeHead.call(raw, statusCode)
    const text = typeof reason === 'string' ? [reason] : []
    const headers = privateHeaders({ ...takeHeaders(raw), ...toObject(given ?? reason) }, marks)
    return writeHead.call(raw, statusCode, ...text, headers)
  }
}

function markStream (stream: ServerHttp2Stream, marks: Marks): void {
  for (const [name, at] of RESPONDERS) {
    const respond = stream[name] as Respond
    stream[name] = function respondPrivately (...args: unknown[]) {
      args[at] = privateHeaders(toObject(args[at]), marks)
      respond.apply(stream, args)
    }
  }
}

/** Those that were set one by one, without those that caches look at. */
function takeHeaders (raw: ServerResponse): OutgoingHttpHeaders {
  for (const name of raw.getHeaderNames()) if (isCacheHeader(name)) raw.removeHeader(name)
  return raw.getHeaders()
}

function privateHeaders (headers: OutgoingHttpHeaders, marks: Marks): OutgoingHttpHeaders {
  for (const name of Object.keys(headers)) if (isCacheHeader(name)) delete headers[name]
  Object.assign(headers, marks, { 'cache-control': 'private, no-store' })
  expose(headers, Object.keys(marks).join())
  return headers
}

/**
 * A copy with names in lower case. `writeHead` and `respond` take an object, names and values in turn, or pairs;
 * a symbol is Node's list of sensitive headers.
 */
function toObject (given: unknown): OutgoingHttpHeaders {
  const headers: Record<string | symbol, unknown> = {}
  if (typeof given !== 'object' || given === null) return {}
  for (const [name, value] of Array.isArray(given) ? pairsOf(given) : Object.entries(given)) {
    const key = String(name).toLowerCase()
    headers[key] = headers[key] === undefined ? value : [headers[key], value].flat()
  }
  for (const symbol of Object.getOwnPropertySymbols(given)) headers[symbol] = Reflect.get(given, symbol)
  return headers as OutgoingHttpHeaders
}

function * pairsOf (list: readonly unknown[]): Generator<[unknown, unknown]> {
  if (Array.isArray(list[0])) yield * list as [unknown, unknown][]
  else for (let i = 0; i < list.length; i += 2) yield [list[i], list[i + 1]]
}
