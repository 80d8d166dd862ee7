import type { FastifyReply, FastifyRequest } from 'fastify'
import type { TemplateVariables } from '../../types/index.ts'
import { messageOf } from '../errors.ts'
import type { StoredWindow } from '../state/record.ts'
import { giveUp, hasBegun } from '../util/replied.ts'
import type { Log } from '../util/log.ts'
import { withTimeout } from '../util/timeout.ts'
import { chooseLanguage } from '../util/accept-language.ts'
import { remembered } from '../util/accept-header.ts'
import { makeEvents, makeHtml, makeRedirect, makeTexts, type Body, type BodyParts, type Texts } from './bodies.ts'
import { chooseFormat } from './choose-format.ts'
import { renderJson } from './custom-json.ts'
import { createEncoded, type Encoded } from './encoded.ts'
import { createMessageChooser } from './message.ts'
import { negotiateEncoding, type Encoding } from './negotiate.ts'
import type { EncodedPages, Pages } from './page.ts'
import type { Redirect } from './redirect.ts'
import { send } from './send.ts'
import type { ResponseSettings } from './settings.ts'
import { modeOfWindow, variablesOf } from './variables.ts'

/** Answers the blocked requests of one site during one window. */
export interface Answer {
  send (request: FastifyRequest, reply: FastifyReply): void
  /** The same in words, for an error that a handler throws. */
  describe (request: FastifyRequest): TemplateVariables
  /** Settles when all that can be prepared is ready; rejects with what is wrong with the template. */
  readonly ready: Promise<void>
}

export interface AnswerParts {
  readonly site: string
  /** `null`: the site is open, and only routes that are always blocked get an answer. */
  readonly window: StoredWindow | null
  readonly response: ResponseSettings
  readonly pages: Pages
  /** `null`: visitors get the page where they are. */
  readonly redirect: Redirect | null
  readonly log: Log
  /** The clock by which windows end, ms. */
  readonly clock: () => number
}

/** How long the application's data for the page may take, ms. */
const DATA_TIMEOUT = 1000

/** The pages of one message: the application's own one, or the bundled one per language. */
interface Rendered { custom: Encoded | null, readonly bundled: EncodedPages }

/**
 * Renders what can be rendered when the state changes, so that blocking a request only sends bytes that are ready. The
 * site closes with the bundled page at once, and with the application's own page as soon as that is rendered.
 */
export async function prepareAnswer ({
  site,
  window,
  response,
  pages,
  redirect,
  log,
  clock
}: AnswerParts): Promise<Answer> {
  const { data, json } = response
  // TypeScript takes a function for an object, too
  const askData = typeof data === 'function' ? (data as (request: FastifyRequest) => object) : null
  const messages = createMessageChooser(window?.message ?? null)
  const rendered = new Map<string | null, Rendered>()
  for (const message of messages.all) rendered.set(message, await renderBundled(message))
  const negotiateLanguage = remembered(header => chooseLanguage(header, pages.languages, 'en'))
  const customJson = new Map(json === undefined ? [] : messages.all.map(message => [message, tryJson(json, message)]))
  const made = new Map<Encoded, Map<Encoding, Body>>()
  const texts = new Map<string | null, Texts>()
  let madeIn = 0
  let reported = false

  async function renderBundled (message: string | null): Promise<Rendered> {
    return { custom: null, bundled: await pages.bundled(variables(message), modeOfWindow(window), message) }
  }

  /** `null`: it failed, and the standard body is sent. */
  function tryJson (json: NonNullable<ResponseSettings['json']>, message: string | null): string | null {
    try {
      return renderJson(json, variables(message))
    } catch (error) {
      log.error(
        { err: error },
        `maintenance: the JSON body of site '${site}' failed, sending the standard one: ${messageOf(error)}`
      )
      return null
    }
  }

  function partsOf (message: string | null): BodyParts {
    return { variables: variables(message), response, varies: messages.varies }
  }

  function variables (message: string | null): TemplateVariables {
    return variablesOf(site, window, message, response, clock())
  }

  /** The seconds until the end go down, so bodies are made again, at most once a second. */
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
    const fresh = makeTexts(partsOf(message), customJson.get(message) ?? null)
    texts.set(message, fresh)
    return fresh
  }

  function html (request: FastifyRequest, message: string | null): Body | Promise<Body> {
    const { headers } = request.raw
    const { custom, bundled } = rendered.get(message) as Rendered
    const encoding = negotiateEncoding(headers['accept-encoding'])
    if (custom !== null) return encoded(custom, encoding, null, message)
    const language = negotiateLanguage(headers['accept-language'])
    // every language that can be negotiated is bundled
    return encoded(bundled.get(language) as Encoded, encoding, language, message)
  }

  function encoded (
    page: Encoded,
    encoding: Encoding,
    language: string | null,
    message: string | null
  ): Body | Promise<Body> {
    const bodies = made.get(page) ?? new Map<Encoding, Body>()
    const known = bodies.get(encoding)
    if (known !== undefined) return known
    const bundled = language === null ? null : { language, policy: pages.policy }
    const bytes = page.as(encoding)
    if (bytes instanceof Promise) return bytes.then(bytes => makeHtml(partsOf(message), bytes, { encoding, bundled }))
    const body = makeHtml(partsOf(message), bytes, { encoding, bundled })
    made.set(page, bodies.set(encoding, body))
    return body
  }

  async function renderCustom (
    render: NonNullable<Pages['custom']>,
    message: string | null,
    more: object | undefined
  ): Promise<string> {
    return render({ ...more, ...variables(message) })
  }

  async function makeReady (): Promise<void> {
    const { custom } = pages
    if (custom === null || askData !== null) return
    await Promise.all(
      Array.from(rendered, async ([message, page]) => {
        page.custom = createEncoded(await renderCustom(custom, message, data))
      })
    )
  }

  /** The one page that is rendered per request: its data depend on the request. */
  async function personal (
    request: FastifyRequest,
    message: string | null,
    render: NonNullable<Pages['custom']>,
    ask: (request: FastifyRequest) => object
  ): Promise<Body> {
    try {
      const more = await withTimeout(Promise.resolve(ask(request)), DATA_TIMEOUT)
      const page = Buffer.from(await renderCustom(render, message, more))
      return makeHtml(partsOf(message), page, { encoding: 'identity', bundled: null })
    } catch (error) {
      if (!reported) {
        log.error(
          { err: error },
          `maintenance: the page of site '${site}' failed, serving the bundled page (logged once per state change)`
        )
      }
      reported = true
      return html(request, message)
    }
  }

  function bodyFor (request: FastifyRequest): Body | Promise<Body> {
    refresh()
    const message = messages.choose(request.raw.headers['accept-language'])
    const format = chooseFormat(request, response.type)
    if (format === 'events') return makeEvents(partsOf(message), textsOf(message))
    if (format !== 'html') return textsOf(message)[format]
    if (redirect !== null && redirect.leadsAway(request)) {
      return makeRedirect(partsOf(message), redirect.target, request.method)
    }
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
    describe: request => variables(messages.choose(request.raw.headers['accept-language'])),
    send (request, reply) {
      if (reply.sent || hasBegun(reply.raw)) return
      reply.hijack()
      const body = choose(request)
      if (!(body instanceof Promise)) return send(body, request, reply)
      body.then(body => send(body, request, reply)).catch(() => giveUp(reply))
    }
  }
}
