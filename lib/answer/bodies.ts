import { STATUS_CODES, type OutgoingHttpHeaders } from 'node:http'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { ResponseSettings } from './settings.ts'
import type { Encoding, Format } from './negotiate.ts'
import { PAGE_POLICY, type TemplateVariables } from './page.ts'
import type { Language } from './texts.ts'

/** Ready to be sent. */
export interface Body {
  readonly statusCode: number
  readonly headers: OutgoingHttpHeaders
  /** The same as names and values in turn, which `writeHead` takes with the least work. */
  readonly list: readonly string[]
  /** Bytes, or Latin-1 text where that is faster. */
  readonly content: Buffer | string
}

export type Html = Partial<Record<Encoding, Buffer>> & { identity: Buffer }

/** Nearly as small as the best one, in a tenth of the time: nine languages are compressed at every change. */
const BROTLI_QUALITY = 6

/** Node joins text to the headers and writes one piece; up to about this size that costs less than a Buffer beside them. */
const JOINED_MAX = 4096

/** Where no time is known, an event stream is tried again after so long, ms. */
const EVENTS_RETRY = 300_000

/** What is on every refusal. Ours win over the option `headers`. */
export function commonHeaders ({ retryAfter, mode }: TemplateVariables, { headers }: ResponseSettings, vary = 'Accept'): OutgoingHttpHeaders {
  return {
    ...headers,
    'cache-control': 'no-store',
    ...(retryAfter === null ? {} : { 'retry-after': String(retryAfter) }),
    vary: headers.vary === undefined ? vary : `${vary}, ${headers.vary}`,
    'maintenance-mode': mode
  }
}

/** Everything but HTML. */
export type Texts = { readonly [format in Exclude<Format, 'html'>]: Body }

/** @param byLanguage does the message depend on `Accept-Language`? */
export function makeTexts (variables: TemplateVariables, response: ResponseSettings, byLanguage: boolean): Texts {
  const { message, endsAt, retryAfter, statusCode } = variables
  const headers = commonHeaders(variables, response, byLanguage ? 'Accept, Accept-Language' : 'Accept')
  const error = STATUS_CODES[statusCode] ?? 'Maintenance'
  const code = 'FST_ERR_MAINTENANCE'
  // who is refused a write learns that reads pass
  const more = variables.mode === 'read-only' ? { mode: variables.mode } : {}
  const json = JSON.stringify({ statusCode, code, error, message, retryAfter, endsAt, ...more })
  const body = (type: string, text: string, status = statusCode): Body => {
    const bytes = Buffer.from(text)
    return bodyOf(status, { ...headers, 'content-type': `${type}; charset=utf-8`, 'content-length': String(bytes.length) }, bytes)
  }
  return {
    json: body('application/json', json),
    // RFC 9457: about:blank means that the title is the status phrase
    problem: body('application/problem+json', JSON.stringify({ type: 'about:blank', title: error, status: statusCode, detail: message, code, retryAfter, endsAt, ...more })),
    text: body('text/plain', `${message}\n${endsAt === null ? '' : `Expected back: ${endsAt}\n`}`),
    // anything but 200 makes an EventSource give up for good (HTML standard, section 9.2.3)
    events: body('text/event-stream', `retry: ${retryAfter === null ? EVENTS_RETRY : retryAfter * 1000}\nevent: maintenance\ndata: ${json}\n\n`, 200)
  }
}

function bodyOf (statusCode: number, headers: OutgoingHttpHeaders, bytes: Buffer): Body {
  const list = Object.entries(headers).flat() as string[]
  return { statusCode, headers, list, content: bytes.length <= JOINED_MAX ? bytes.toString('latin1') : bytes }
}

/**
 * @param language of the bundled page; that of a custom page is not known
 * @param byLanguage does the message depend on `Accept-Language`?
 */
export function makeHtml (
  html: Html, encoding: Encoding, language: Language | null, variables: TemplateVariables, response: ResponseSettings, byLanguage: boolean
): Body {
  const bytes = html[encoding] ?? html.identity
  const bundled = language !== null
  return bodyOf(response.statusCode, {
    ...(bundled ? { 'content-security-policy': PAGE_POLICY, 'content-language': language } : {}),
    ...commonHeaders(variables, response, `Accept${bundled || byLanguage ? ', Accept-Language' : ''}, Accept-Encoding`),
    ...(response.refresh === undefined ? {} : { refresh: String(response.refresh) }),
    ...(bytes === html.identity ? {} : { 'content-encoding': encoding }),
    'content-type': 'text/html; charset=utf-8',
    'content-length': String(bytes.length)
  }, bytes)
}

/** 302, or 303 for what is no GET: the form is not posted there (RFC 9110 section 15.4). */
export function makeRedirect (location: string, method: string, variables: TemplateVariables, response: ResponseSettings): Body {
  const statusCode = method === 'GET' || method === 'HEAD' ? 302 : 303
  return bodyOf(statusCode, { ...commonHeaders(variables, response), location, 'content-length': '0' }, Buffer.alloc(0))
}

/** The same page in fewer bytes; done once for each state, off the main thread. */
export async function compressed ({ identity }: Html): Promise<Html> {
  const [br, gz] = await Promise.all([
    promisify(brotliCompress)(identity, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } }),
    promisify(gzip)(identity)
  ])
  return { identity, br, gzip: gz }
}
