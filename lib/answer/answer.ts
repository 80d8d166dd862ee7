import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ResponseSettings } from './settings.ts'
import type { StoredWindow } from '../state/record.ts'
import { giveUp, hasBegun } from '../util/replied.ts'
import type { Log } from '../util/log.ts'
import { withTimeout } from '../util/timeout.ts'
import { compressed, makeHtml, makeRedirect, makeTexts, type Body, type Html, type Texts } from './bodies.ts'
import { chooseFormat } from './choose-format.ts'
import { createMessageChooser } from './message.ts'
import { negotiateEncoding, negotiateLanguage, type Encoding } from './negotiate.ts'
import type { Pages, TemplateVariables } from './page.ts'
import { leadsAway } from './redirect.ts'
import { send } from './send.ts'
import { variablesOf } from './variables.ts'
import type { Language } from './texts.ts'

/** Answers the blocked requests of one site during one window. */
export interface Answer {
  send (request: FastifyRequest, reply: FastifyReply): void
  /** Settles when all that can be prepared is ready; rejects with what is wrong with the template. */
  readonly ready: Promise<void>
}

export interface AnswerParts {
  readonly site: string
  /** `null`: the site is open, and only routes that are always blocked get an answer. */
  readonly window: StoredWindow | null
  readonly response: ResponseSettings
  readonly pages: Pages
  readonly log: Log
  /** The clock by which windows end, ms. */
  readonly clock: () => number
}

/** How long the application's data for the page may take, ms. */
const DATA_TIMEOUT = 1000

/** The pages of one message: the application's own one, or the bundled one per language. */
interface Rendered { custom: Html | null, readonly bundled: Map<Language, Html> }

/**
 * Renders what can be rendered when the state changes, so that blocking a request only sends bytes that are ready. The site
 * closes with the bundled page at once, and with the application's own page as soon as that is rendered.
 */
export async function prepareAnswer ({ site, window, response, pages, log, clock }: AnswerParts): Promise<Answer> {
  const { data, redirect } = response
  // TypeScript takes a function for an object, too
  const askData = typeof data === 'function' ? data as (request: FastifyRequest) => object : null
  const messages = createMessageChooser(window?.message ?? null)
  const rendered = new Map<string | null, Rendered>()
  for (const message of messages.all) rendered.set(message, await renderBundled(message))
  const made = new Map<Html, Map<Encoding, Body>>()
  const texts = new Map<string | null, Texts>()
  let madeIn = 0
  let reported = false

  async function renderBundled (message: string | null): Promise<Rendered> {
    const pagesByLanguage = await pages.bundled(variables(message), message)
    return { custom: null, bundled: new Map(Array.from(pagesByLanguage, ([language, html]) => [language, { identity: Buffer.from(html) }])) }
  }

  function variables (message: string | null): TemplateVariables {
    return variablesOf(site, window, message, response, clock())
  }

  /** The seconds until the end go down, so bodies are made anew, at most once a second. */
  function refresh (): void {
    const second = window === null || window.endsAt === null ? 0 : Math.floor(clock() / 1000)
    if (second === madeIn) return
    madeIn = second
    made.clear()
    texts.clear()
  }

  function textsOf (message: string | null): Texts {
    const known = texts.get(message)
    if (known !== undefined) return known
    const fresh = makeTexts(variables(message), response, messages.varies)
    texts.set(message, fresh)
    return fresh
  }

  function html (request: FastifyRequest, message: string | null): Body {
    const { headers } = request.raw
    const { custom, bundled } = rendered.get(message) as Rendered
    const language = custom === null ? negotiateLanguage(headers['accept-language']) : null
    const encoding = negotiateEncoding(headers['accept-encoding'])
    // every language that can be negotiated is bundled
    const page = custom ?? bundled.get(language as Language) as Html
    const bodies = made.get(page) ?? new Map<Encoding, Body>()
    const known = bodies.get(encoding)
    if (known !== undefined) return known
    const body = makeHtml(page, encoding, language, variables(message), response, messages.varies)
    made.set(page, bodies.set(encoding, body))
    return body
  }

  async function renderCustom (render: NonNullable<Pages['custom']>, message: string | null, more: object | undefined): Promise<Html> {
    return { identity: Buffer.from(await render({ ...more, ...variables(message) })) }
  }

  async function makeReady (): Promise<void> {
    await Promise.all(Array.from(rendered, async ([message, page]) => {
      if (pages.custom !== null && askData === null) page.custom = await renderCustom(pages.custom, message, data)
      made.clear()
      // an open site rarely answers: a server with a thousand sites does not compress all of them at boot
      if (window === null) return
      if (page.custom !== null) page.custom = await compressed(page.custom)
      else await Promise.all(Array.from(page.bundled, async ([language, html]) => page.bundled.set(language, await compressed(html))))
    }))
    made.clear()
  }

  /** The one page that is rendered per request: its data depend on the request. */
  async function personal (
    request: FastifyRequest, message: string | null, render: NonNullable<Pages['custom']>, ask: (request: FastifyRequest) => object
  ): Promise<Body> {
    try {
      const more = await withTimeout(Promise.resolve(ask(request)), DATA_TIMEOUT)
      return makeHtml(await renderCustom(render, message, more), 'identity', null, variables(message), response, messages.varies)
    } catch (error) {
      if (!reported) log.error({ err: error }, `maintenance: the page of site '${site}' failed, serving the bundled page (logged once per state change)`)
      reported = true
      return html(request, message)
    }
  }

  function bodyFor (request: FastifyRequest): Body | Promise<Body> {
    refresh()
    const message = messages.choose(request.raw.headers['accept-language'])
    const format = chooseFormat(request, response.type)
    if (format !== 'html') return textsOf(message)[format]
    if (redirect !== undefined && leadsAway(redirect, request)) return makeRedirect(redirect, request.method, variables(message), response)
    if (pages.custom === null || askData === null) return html(request, message)
    return personal(request, message, pages.custom, askData)
  }

  /** Some of what it looks at belongs to the application, such as a `trustProxy` that throws. */
  function choose (request: FastifyRequest): Body | Promise<Body> {
    try {
      return bodyFor(request)
    } catch (error) {
      request.log.warn({ err: error }, 'maintenance: no body could be chosen, JSON is sent')
      return textsOf(messages.default).json
    }
  }

  const ready = makeReady()
  // callers that care await `ready`; until it settles, the bundled page is sent
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
