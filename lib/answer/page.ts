import { createHash } from 'node:crypto'
import { basename, dirname, resolve } from 'node:path'
import view from '@fastify/view'
import { Eta } from 'eta'
import type { FastifyInstance } from 'fastify'
import type { Mode, TemplateVariables } from '../../types/index.ts'
import { TemplateError, messageOf } from '../errors.ts'
import { readAsset } from '../util/asset.cjs'
import { withTimeout } from '../util/timeout.ts'
import { brandStyle, logoUrl } from './brand.ts'
import { createEncoded, type Encoded } from './encoded.ts'
import { whyNotEta } from './engine.ts'
import { NO_FRAMES } from './frame-ancestors.ts'
import type { ResponseSettings } from './settings.ts'
import { directionOf, languagesOf, wordsOf, type Words } from './texts.ts'

export interface Pages {
  /** The languages of the bundled page. */
  readonly languages: readonly string[]
  /** The `Content-Security-Policy` of the bundled page. */
  readonly policy: string
  /** The bundled page in all languages; `customMessage` is the operator's, if there is one. */
  bundled (variables: TemplateVariables, mode: Mode, customMessage: string | null): Promise<EncodedPages>
  /**
   * The application's own template; `null` if the option `template` names none.
   * @throws FST_ERR_MAINTENANCE_TEMPLATE if it is missing, fails, or takes longer than 1 s
   */
  readonly custom: ((variables: object) => Promise<string>) | null
  /** @throws FST_ERR_MAINTENANCE_TEMPLATE if the template is one of another engine, which isn't there */
  checkEngine (): void
}

/** The bundled page by language. */
export type EncodedPages = ReadonlyMap<string, Encoded>

/** What the bundled page shows in one language, whatever the message. */
interface Locale { readonly language: string, readonly direction: 'ltr' | 'rtl', readonly words: Words }

type Render = (page: unknown, variables: object) => Promise<string>

/** A template that does not settle by then has failed, ms. */
const RENDER_TIMEOUT = 1000

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** A page that loads nothing, runs its own script and no other, asks its own server, and goes into no frame. */
export function policyFor (style: string, script: string, formAction = "'none'", ...more: string[]): string {
  return (
    [
      "default-src 'none'",
      `style-src ${hash(style)}`,
      `script-src ${hash(script)}`,
      ...more,
      "connect-src 'self'",
      "base-uri 'none'",
      `form-action ${formAction}`
    ].join('; ') + NO_FRAMES
  )
}

const TEMPLATE = readAsset('answer/page/page.eta')
const SCRIPT = readAsset('answer/page/page.client.js')

/** The colours of all our pages. */
export const PALETTE = readAsset('util/palette.css')

/** The style of the bundled page, and of the page that takes the secret of a bypass. */
export const PAGE_STYLE = PALETTE + readAsset('answer/page/page.css')

/**
 * Pages are rendered by `@fastify/view`: the bundled one in a child of its own, so that the name `view` stays
 * the application's, its engine untouched, and `@fastify/view`'s own hook off its routes.
 */
export async function createPages (
  fastify: FastifyInstance, { template, texts, brand }: ResponseSettings, statusPath: string | null
): Promise<Pages> {
  const eta = new Eta()
  const languages = languagesOf(texts)
  const style = PAGE_STYLE + brandStyle(brand)
  const logo = logoUrl(brand)
  const common = { brand, logo, style, script: SCRIPT, statusPath }
  const localesByMode = new Map<Mode, readonly Locale[]>()
  let last: { readonly key: string, readonly rendered: Promise<EncodedPages> } | undefined
  // compiled once: the variables are data, never part of the template
  const page = eta.compile(TEMPLATE)
  const renderBundled = await renderInChild(fastify, { engine: { eta } })
  const renderFile =
    template === undefined
      ? null
      : await renderInChild(fastify, { engine: { eta: new Eta() }, templates: dirname(resolve(template)) })

  async function renderAll (variables: object, mode: Mode): Promise<EncodedPages> {
    return new Map(await Promise.all(localesIn(mode).map(async locale => {
      const html = await renderBundled(page, { ...variables, ...locale })
      return [locale.language, createEncoded(html)] as const
    })))
  }

  /** Computed once: looking up languages takes longer than rendering, which every language of a message repeats. */
  function localesIn (mode: Mode): readonly Locale[] {
    const locales = localesByMode.get(mode) ?? languages.map(language => (
      { language, direction: directionOf(language), words: wordsOf(texts, language, mode) }
    ))
    localesByMode.set(mode, locales)
    return locales
  }

  return {
    languages,
    policy: policyFor(style, SCRIPT, "'none'", ...(logo === null ? [] : ['img-src data:'])),
    async bundled (variables, mode, customMessage) {
      // all that the page shows: a thousand sites that are open share one rendering
      const key = JSON.stringify([mode, customMessage, variables.endsAt])
      if (last?.key !== key) last = { key, rendered: renderAll({ ...variables, ...common, customMessage }, mode) }
      return last.rendered
    },
    custom: template === undefined || renderFile === null
      ? null
      : variables => renderChecked(template, async () => {
        const own = findView(fastify)
        return own === undefined ? renderFile(basename(template), variables) : own(template, variables)
      }),
    checkEngine () {
      if (template === undefined || findView(fastify) !== undefined) return
      const reason = whyNotEta(template)
      if (reason !== null) throw new TemplateError(template, reason)
    }
  }
}

/** Renders by a `@fastify/view` of its own, that nobody else sees. */
export async function renderInChild (fastify: FastifyInstance, options: Parameters<typeof view>[1]): Promise<Render> {
  let render: Render | undefined
  await fastify.register(async function maintenancePages (child) {
    await child.register(view, { ...options, production: true })
    render = child.view as Render
  })
  return render as unknown as Render
}

async function renderChecked (template: string, render: () => Promise<string>): Promise<string> {
  try {
    const html = await withTimeout(render(), RENDER_TIMEOUT)
    if (typeof html !== 'string') throw new Error('it returned no string')
    return html
  } catch (error) {
    throw new TemplateError(template, messageOf(error), { cause: error })
  }
}

/** What the application's own `@fastify/view` has put on the instance, whatever its `propertyName`. */
function findView (fastify: FastifyInstance): Render | undefined {
  const found = [...decorators(fastify)].filter(([, value]) => typeof value === 'function' && 'clearCache' in value)
  return (found.find(([name]) => name === 'view') ?? found[0])?.[1] as Render | undefined
}

/** Plain values only: a getter is not run to look at it. */
function * decorators (instance: object | null): Generator<[string, unknown]> {
  for (let at = instance; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) yield [name, value]
  }
}
