import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { FastifyReply } from 'fastify'
import { isCacheHeader } from './cache-headers.ts'
import { joinLists } from './merge-headers.ts'
import { writeHead as nodeWriteHead } from './send.ts'

/** What the headers of such an answer say: the mode of the site, and why the request was let through. */
export interface Marks { readonly mode: string, readonly pass: string }

type WriteHead = (this: ServerResponse, statusCode: number, ...rest: unknown[]) => ServerResponse
type Respond = (this: ServerHttp2Stream, ...args: unknown[]) => void

/** What sends the headers of an HTTP/2 stream, and where it takes them. Node's own response goes through the first. */
const RESPONDERS = [['respond', 0], ['respondWithFile', 1], ['respondWithFD', 1]] as const

const MARKS = ['maintenance-mode', 'maintenance-pass'] as const
const EXPOSED = MARKS.join()

/**
 * The few who may look inside a closed site see what no cache may keep for the public. The headers change when
 * they are written, after all hooks and handlers, so that nothing in the application can overrule them; only such
 * requests pay for it.
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
    const list = privateList(given ?? reason, marks, raw)
    // a list takes Node the least work; others may not know it
    const headers = writeHead === nodeWriteHead ? list : toObject(list)
    return typeof reason === 'string'
      ? writeHead.call(raw, statusCode, reason, headers)
      : writeHead.call(raw, statusCode, headers)
  }
}

function markStream (stream: ServerHttp2Stream, marks: Marks): void {
  for (const [name, at] of RESPONDERS) {
    const respond = stream[name] as Respond
    stream[name] = function respondPrivately (...args: unknown[]) {
      const given = args[at]
      const headers = toObject(privateList(given, marks, null))
      // Node's list of sensitive headers
      for (const symbol of Object.getOwnPropertySymbols(given ?? {})) {
        Reflect.set(headers, symbol, Reflect.get(given as object, symbol))
      }
      args[at] = headers
      respond.apply(stream, args)
    }
  }
}

/**
 * What was given to `writeHead` or `respond`, without what caches look at, and with the marks.
 * @param raw has the headers that were set one by one; it keeps those that caches don't look at
 */
function privateList (given: unknown, { mode, pass }: Marks, raw: ServerResponse | null): unknown[] {
  const list: unknown[] = [MARKS[0], mode, MARKS[1], pass, 'cache-control', 'private, no-store']
  let crossOrigin = false
  let exposed: unknown
  if (raw !== null) {
    for (const name of raw.getHeaderNames()) {
      if (name === ALLOW_ORIGIN) crossOrigin = true
      else if (name === EXPOSE_HEADERS) exposed = raw.getHeader(name)
      else if (isCacheHeader(name)) raw.removeHeader(name)
    }
  }
  const pairs = toPairs(given)
  for (let i = 0; i < pairs.length; i += 2) {
    const name = String(pairs[i])
    const key = name.toLowerCase()
    if (key === EXPOSE_HEADERS) exposed = pairs[i + 1]
    else if (!isCacheHeader(key) && key !== MARKS[0] && key !== MARKS[1]) list.push(name, pairs[i + 1])
    if (key === ALLOW_ORIGIN) crossOrigin = true
  }
  if (crossOrigin) exposed = joinLists(EXPOSED, exposed)
  if (exposed !== undefined) list.push(EXPOSE_HEADERS, exposed)
  return list
}

const ALLOW_ORIGIN = 'access-control-allow-origin'
const EXPOSE_HEADERS = 'access-control-expose-headers'

/** Names and values in turn: `writeHead` and `respond` take an object, such a list, or pairs. */
function toPairs (given: unknown): readonly unknown[] {
  if (typeof given !== 'object' || given === null) return []
  if (Array.isArray(given)) return Array.isArray(given[0]) ? given.flatMap(pair => pair as unknown[]) : given
  const pairs: unknown[] = []
  for (const name of Object.keys(given)) pairs.push(name, (given as OutgoingHttpHeaders)[name])
  return pairs
}

/** With names in lower case. */
function toObject (list: readonly unknown[]): OutgoingHttpHeaders {
  const headers: Record<string, unknown> = {}
  for (let i = 0; i < list.length; i += 2) {
    const name = String(list[i]).toLowerCase()
    headers[name] = headers[name] === undefined ? list[i + 1] : [headers[name], list[i + 1]].flat()
  }
  return headers as OutgoingHttpHeaders
}
