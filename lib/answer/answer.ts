import { STATUS_CODES, type OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ResponseSettings } from '../options.ts'
import type { StateRecord } from '../state/record.ts'
import { isUpgrade, withForeignHeaders } from './headers.ts'
import { negotiate, type Format } from './negotiate.ts'
import { PAGE_POLICY, type RenderPage, type TemplateVariables } from './page.ts'
import { DEFAULT_MESSAGE } from './text.ts'

/** Answers refused requests of one site in one state. */
export interface Answer {
  send (request: FastifyRequest, reply: FastifyReply): void
}

interface Body {
  readonly headers: OutgoingHttpHeaders
  readonly bytes: Buffer
}

type Bodies = { readonly [format in Format]: Body }

/** Renders what can be rendered when the state changes, so that a refusal only sends ready bytes. */
export async function prepareAnswer (site: string, record: StateRecord, response: ResponseSettings, render: RenderPage): Promise<Answer> {
  const html = await render(variablesOf(site, record, response))
  let bodies: Bodies | undefined
  let madeIn = 0

  /** The seconds until the end go down: then headers and JSON are made anew, once a second at most. */
  function current (): Bodies {
    const second = record.endsAt === null ? 0 : Math.floor(Date.now() / 1000)
    if (bodies === undefined || second !== madeIn) {
      madeIn = second
      bodies = makeBodies(variablesOf(site, record, response), html, response)
    }
    return bodies
  }

  return {
    send (request, reply) {
      const { headers, bytes } = current()[chooseFormat(request, response.type)]
      const { raw } = reply
      reply.hijack()
      // a plugin that took the upgrade over may never close the socket, and no HTTP follows on it
      if (isUpgrade(request)) raw.once('finish', () => request.raw.socket.destroySoon())
      raw.writeHead(response.statusCode, withForeignHeaders(headers, request, reply))
      raw.end(request.method === 'HEAD' ? undefined : bytes)
    }
  }
}

/**
 * Seconds for `Retry-After` (RFC 9110 section 10.2.3), never below 1. The end of the window is a promise
 * and wins over the settings; it is over as soon as it has passed, so it is never in the past.
 */
function retryAfterOf (record: StateRecord, response: ResponseSettings): number | null {
  if (record.on && record.endsAt !== null) return Math.max(1, Math.ceil((Date.parse(record.endsAt) - Date.now()) / 1000))
  return record.retryAfter ?? (response.retryAfter === false ? null : response.retryAfter)
}

function variablesOf (site: string, record: StateRecord, response: ResponseSettings): TemplateVariables {
  const { mode, startsAt, endsAt } = record
  const message = record.message ?? DEFAULT_MESSAGE[mode]
  return { message, mode, site, startsAt, endsAt, retryAfter: retryAfterOf(record, response), statusCode: response.statusCode }
}

function makeBodies (variables: TemplateVariables, html: string, response: ResponseSettings): Bodies {
  const { message, endsAt, retryAfter, statusCode } = variables
  const error = STATUS_CODES[statusCode] ?? 'Maintenance'
  const code = 'FST_ERR_MAINTENANCE'
  const headers: OutgoingHttpHeaders = {
    ...response.headers,
    'cache-control': 'no-store',
    ...(retryAfter === null ? {} : { 'retry-after': String(retryAfter) }),
    vary: response.headers.vary === undefined ? 'Accept' : `Accept, ${response.headers.vary}`,
    'maintenance-mode': variables.mode
  }
  const page = { 'content-security-policy': PAGE_POLICY, ...headers, ...(response.refresh === undefined ? {} : { refresh: String(response.refresh) }) }
  return {
    html: makeBody(page, 'text/html', html),
    json: makeBody(headers, 'application/json', JSON.stringify({ statusCode, code, error, message, retryAfter, endsAt })),
    // RFC 9457: about:blank means that the title is the status phrase
    problem: makeBody(headers, 'application/problem+json', JSON.stringify({ type: 'about:blank', title: error, status: statusCode, detail: message, code, retryAfter, endsAt })),
    text: makeBody(headers, 'text/plain', `${message}\n${endsAt === null ? '' : `Expected back: ${endsAt}\n`}`)
  }
}

function makeBody (headers: OutgoingHttpHeaders, type: string, body: string): Body {
  const bytes = Buffer.from(body)
  return { headers: { ...headers, 'content-type': `${type}; charset=utf-8`, 'content-length': String(bytes.length) }, bytes }
}

const FORMATS: readonly unknown[] = ['html', 'json', 'text'] satisfies Format[]

/** The option `type`, where it names a format; a function that fails leaves the choice to the client. */
function chooseFormat (request: FastifyRequest, type: ResponseSettings['type']): Format {
  let format: unknown = type
  try {
    if (typeof type === 'function') format = type(request)
  } catch (error) {
    request.log.warn({ err: error }, 'maintenance: the function response.type failed')
  }
  return FORMATS.includes(format) ? format as Format : negotiate(request.headers.accept)
}
