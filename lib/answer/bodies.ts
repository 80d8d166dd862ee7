import { STATUS_CODES, type OutgoingHttpHeaders } from 'node:http'
import type { TemplateVariables } from '../../types/index.ts'
import type { Encoding, Format } from './negotiate.ts'
import type { ResponseSettings } from './settings.ts'

/** Ready to be sent. */
export interface Body {
  readonly statusCode: number
  readonly headers: OutgoingHttpHeaders
  /** The same as names and values in turn, which `writeHead` takes with the least work. */
  readonly list: readonly string[]
  /** Bytes, or Latin-1 text where that is faster. */
  readonly content: Buffer | string
}

/**
 * Node joins text to the headers and writes one piece; up to about this size that costs less than a Buffer beside them.
 */
const JOINED_MAX = 4096

/** The headers of every blocked answer. Ours win over the option `headers`. */
export function commonHeaders (
  { retryAfter, mode }: TemplateVariables,
  { headers }: ResponseSettings,
  vary = 'Accept'
): OutgoingHttpHeaders {
  return {
    ...headers,
    'cache-control': 'no-store',
    ...(retryAfter === null ? {} : { 'retry-after': String(retryAfter) }),
    vary: headers.vary === undefined ? vary : `${vary}, ${headers.vary}`,
    'maintenance-mode': mode
  }
}

export interface BodyParts {
  readonly variables: TemplateVariables
  readonly response: ResponseSettings
  /** Does the message depend on `Accept-Language`? */
  readonly varies: boolean
}

/** Everything but HTML. What an event stream says depends on chance, so it is made per request from its JSON. */
export type Texts = { readonly [format in Exclude<Format, 'html' | 'events'>]: Body } & { readonly event: string }

/** @param custom the JSON body in the application's own shape; `null`: the standard one */
export function makeTexts ({ variables, response, varies }: BodyParts, custom: string | null): Texts {
  const { message, endsAt, retryAfter, statusCode } = variables
  const error = STATUS_CODES[statusCode] ?? 'Maintenance'
  const code = 'FST_ERR_MAINTENANCE'
  // tells a client whose write was blocked that reads pass
  const more = variables.mode === 'read-only' ? { mode: variables.mode } : {}
  const json = custom ?? JSON.stringify({ statusCode, code, error, message, retryAfter, endsAt, ...more })
  const headers = commonHeaders(variables, response, varyOf(varies))
  const body = (type: string, text: string): Body => textBody(statusCode, headers, type, text)
  return {
    json: body('application/json', json),
    // RFC 9457: about:blank means that the title is the status phrase
    problem: body(
      'application/problem+json',
      JSON.stringify({
        type: 'about:blank',
        title: error,
        status: statusCode,
        detail: message,
        code,
        retryAfter,
        endsAt,
        ...more
      })
    ),
    text: body(
      'text/plain',
      `${message}\n${endsAt === null ? '' : `${variables.mode === 'full' ? 'Expected back' : 'Changes expected to be possible again'}: ${endsAt}\n`}`
    ),
    event: json
  }
}

/**
 * After how long an event stream is opened again, ms: long enough to be no load, short enough to notice an early end.
 */
const RETRY_MIN = 1000
const RETRY_MAX = 300_000

/** A response other than 200 makes an `EventSource` give up for good (HTML standard, section 9.2.3). */
export function makeEvents ({ variables, response, varies }: BodyParts, { event }: Texts): Body {
  const whole = Math.min((variables.retryAfter ?? Infinity) * 1000, RETRY_MAX)
  // clients must not all come back at once
  const retry = Math.max(RETRY_MIN, Math.round(whole * (1 + Math.random()) / 2))
  const headers = commonHeaders(variables, response, varyOf(varies))
  return textBody(200, headers, 'text/event-stream', `retry: ${retry}\nevent: maintenance\ndata: ${event}\n\n`)
}

const varyOf = (varies: boolean): string => varies ? 'Accept, Accept-Language' : 'Accept'

function textBody (statusCode: number, headers: OutgoingHttpHeaders, type: string, text: string): Body {
  const bytes = Buffer.from(text)
  return bodyOf(
    statusCode,
    { ...headers, 'content-type': `${type}; charset=utf-8`, 'content-length': String(bytes.length) },
    bytes
  )
}

function bodyOf (statusCode: number, headers: OutgoingHttpHeaders, bytes: Buffer): Body {
  const list = Object.entries(headers).flat() as string[]
  return { statusCode, headers, list, content: bytes.length <= JOINED_MAX ? bytes.toString('latin1') : bytes }
}

/** What is said of an HTML page. */
export interface PageHeaders {
  readonly encoding: Encoding
  /** Of the bundled page, which has a policy of its own; that of a custom page is not known. */
  readonly bundled: { readonly language: string, readonly policy: string } | null
}

export function makeHtml (
  { variables, response, varies }: BodyParts,
  bytes: Buffer,
  { encoding, bundled }: PageHeaders
): Body {
  return bodyOf(
    response.statusCode,
    {
      ...(bundled === null ? {} : { 'content-security-policy': bundled.policy, 'content-language': bundled.language }),
      ...commonHeaders(variables, response, `${varyOf(varies || bundled !== null)}, Accept-Encoding`),
      ...(response.refresh === undefined ? {} : { refresh: String(response.refresh) }),
      ...(encoding === 'identity' ? {} : { 'content-encoding': encoding }),
      'content-type': 'text/html; charset=utf-8',
      'content-length': String(bytes.length)
    },
    bytes
  )
}

/** 302, or 303 for what is no GET: the form is not posted there (RFC 9110 section 15.4). */
export function makeRedirect ({ variables, response, varies }: BodyParts, location: string, method: string): Body {
  const statusCode = method === 'GET' || method === 'HEAD' ? 302 : 303
  return bodyOf(
    statusCode,
    { ...commonHeaders(variables, response, varyOf(varies)), location, 'content-length': '0' },
    Buffer.alloc(0)
  )
}
