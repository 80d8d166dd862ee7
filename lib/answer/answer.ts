import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../util/log.ts'
import type { ResponseSettings } from '../options.ts'
import type { StateRecord } from '../state/record.ts'
import { giveUp, hasBegun } from '../util/replied.ts'
import { withTimeout } from '../util/timeout.ts'
import { compressed, makeHtml, makeRedirect, makeTexts, type Body, type Html } from './bodies.ts'
import { negotiateEncoding, negotiateFormat, negotiateLanguage, type Encoding, type Format } from './negotiate.ts'
import type { Pages, TemplateVariables } from './page.ts'
import { leadsAway } from './redirect.ts'
import { send } from './send.ts'
import { shownMode, TEXTS, type Language } from './texts.ts'

/** Answers refused requests of one site in one state. */
export interface Answer {
  send (request: FastifyRequest, reply: FastifyReply): void
  /** Settles when everything is ready that can be made beforehand; rejects with what is wrong with the template. */
  readonly ready: Promise<void>
}

export interface AnswerParts {
  readonly site: string
  readonly record: StateRecord
  readonly response: ResponseSettings
  readonly pages: Pages
  readonly log: Log
  /** The clock by which windows end, ms. */
  readonly clock: () => number
}

/** The application's data for the page may take so long, ms. */
const DATA_TIMEOUT = 1000

/**
 * Renders what can be rendered when the state changes, so that a refusal only sends ready bytes. The site is
 * closed with the bundled page at once, and with the application's own as soon as that is rendered.
 */
export async function prepareAnswer ({ site, record, response, pages, log, clock }: AnswerParts): Promise<Answer> {
  const { data, redirect } = response
  // an object may be a function too, as far as its type tells
  const askData = typeof data === 'function' ? data as (request: FastifyRequest) => object : null
  const bundled = new Map<Language | null, Html>()
  for (const [language, html] of await pages.bundled(variables(), record.message)) bundled.set(language, { identity: Buffer.from(html) })
  let custom: Html | null = null
  let complained = false
  const made = new Map<Html, Map<Encoding, Body>>()
  let texts = makeTexts(variables(), response)
  let madeIn = 0

  function variables (): TemplateVariables {
    return variablesOf(site, record, response, clock())
  }

  /** The seconds until the end go down: then all is made anew, once a second at most. */
  function refresh (): void {
    const second = record.endsAt === null ? 0 : Math.floor(clock() / 1000)
    if (second === madeIn) return
    madeIn = second
    made.clear()
    texts = makeTexts(variables(), response)
  }

  function html (request: FastifyRequest): Body {
    const { headers } = request.raw
    const language = custom === null ? negotiateLanguage(headers['accept-language']) : null
    const encoding = negotiateEncoding(headers['accept-encoding'])
    const page = custom ?? bundled.get(language) as Html
    const bodies = made.get(page) ?? new Map<Encoding, Body>()
    const known = bodies.get(encoding)
    if (known !== undefined) return known
    const body = makeHtml(page, encoding, language, variables(), response)
    made.set(page, bodies.set(encoding, body))
    return body
  }

  async function renderCustom (render: NonNullable<Pages['custom']>, more: object | undefined): Promise<Html> {
    return { identity: Buffer.from(await render({ ...more, ...variables() })) }
  }

  async function makeReady (): Promise<void> {
    const own = pages.custom !== null && askData === null ? await renderCustom(pages.custom, data) : null
    custom = own
    made.clear()
    // an open site hardly ever answers: a server of a thousand sites does not compress them all at boot
    if (!record.on) return
    if (own !== null) custom = await compressed(own)
    else await Promise.all(Array.from(bundled, async ([language, page]) => bundled.set(language, await compressed(page))))
    made.clear()
  }

  /** The one page that is rendered per request: its data depend on who asks. */
  async function personal (request: FastifyRequest, render: NonNullable<Pages['custom']>, ask: (request: FastifyRequest) => object): Promise<Body> {
    try {
      const more = await withTimeout(Promise.resolve(ask(request)), DATA_TIMEOUT)
      return makeHtml(await renderCustom(render, more), 'identity', null, variables(), response)
    } catch (error) {
      if (!complained) log.error({ err: error }, `maintenance: the page of site '${site}' failed, the bundled one is sent (told once for each change of state)`)
      complained = true
      return html(request)
    }
  }

  function bodyFor (request: FastifyRequest): Body | Promise<Body> {
    refresh()
    const format = chooseFormat(request, response.type)
    if (format !== 'html') return texts[format]
    if (redirect !== undefined && leadsAway(redirect, request)) return makeRedirect(redirect, request.method, variables(), response)
    if (pages.custom === null || askData === null) return html(request)
    return personal(request, pages.custom, askData)
  }

  /** Some of what it looks at is the application's: a `trustProxy` that throws, for one. */
  function choose (request: FastifyRequest): Body | Promise<Body> {
    try {
      return bodyFor(request)
    } catch (error) {
      request.log.warn({ err: error }, 'maintenance: no body could be chosen, JSON is sent')
      return texts.json
    }
  }

  const ready = makeReady()
  // whoever wants to know awaits `ready`; for everybody else the bundled page stands
  ready.catch(() => {})

  return {
    ready,
    send (request, reply) {
      if (reply.sent || hasBegun(reply.raw)) return
      reply.hijack()
      const body = choose(request)
      if (!(body instanceof Promise)) return send(body, request, reply)
      body.then(body => send(body, request, reply)).catch(() => giveUp(reply))
    }
  }
}

/**
 * Seconds for `Retry-After` (RFC 9110 section 10.2.3), never below 1. The end of the window is a promise
 * and wins over the settings; it is over as soon as it has passed, so it is never in the past.
 */
function retryAfterOf (record: StateRecord, response: ResponseSettings, now: number): number | null {
  if (record.on && record.endsAt !== null) return Math.max(1, Math.ceil((Date.parse(record.endsAt) - now) / 1000))
  return record.retryAfter ?? (response.retryAfter === false ? null : response.retryAfter)
}

export function variablesOf (site: string, record: StateRecord, response: ResponseSettings, now: number): TemplateVariables {
  const { startsAt, endsAt } = record
  const mode = shownMode(record.mode)
  const message = record.message ?? TEXTS.en.message[mode]
  return { message, mode, site, startsAt, endsAt, retryAfter: retryAfterOf(record, response, now), statusCode: response.statusCode }
}

const FORMATS: readonly unknown[] = ['html', 'json', 'text'] satisfies Format[]

/**
 * The option `type`, where it names a format; a function that fails leaves the choice to the client.
 * A 503 of whatever type would stop an `EventSource` for good, so that one gets its stream in any case.
 */
function chooseFormat (request: FastifyRequest, type: ResponseSettings['type']): Format {
  const negotiated = negotiateFormat(request.raw.headers.accept)
  if (type === 'auto' || negotiated === 'events') return negotiated
  let format: unknown = type
  try {
    if (typeof type === 'function') format = type(request)
  } catch (error) {
    request.log.warn({ err: error }, 'maintenance: the function response.type failed')
  }
  return FORMATS.includes(format) ? format as Format : negotiated
}
