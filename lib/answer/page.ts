import { createHash } from 'node:crypto'
import { basename, dirname, resolve } from 'node:path'
import view from '@fastify/view'
import { Eta } from 'eta'
import type { FastifyInstance } from 'fastify'
import { TemplateError, messageOf } from '../errors.ts'
import { withTimeout } from '../util/timeout.ts'
import { SCRIPT, STYLE, TEMPLATE } from './template.ts'
import { LANGUAGES, TEXTS, type Language, type ShownMode } from './texts.ts'

/** What a template can use. */
export interface TemplateVariables {
  readonly message: string
  readonly mode: ShownMode
  readonly site: string
  /** ISO 8601 */
  readonly startsAt: string | null
  /** ISO 8601 */
  readonly endsAt: string | null
  /** Seconds, at the time of rendering. */
  readonly retryAfter: number | null
  readonly statusCode: number
}

export interface Pages {
  /** The bundled page in all languages; `customMessage` is the operator's, where there is one. */
  bundled (variables: TemplateVariables, customMessage: string | null): Promise<ReadonlyMap<Language, string>>
  /**
   * The application's own template; `null` where the option `template` names none.
   * @throws FST_ERR_MAINTENANCE_TEMPLATE where it is missing, fails, or takes longer than 1 s
   */
  readonly custom: ((variables: object) => Promise<string>) | null
}

type Render = (page: unknown, variables: object) => Promise<string>

/** A template that does not settle by then has failed, ms. */
const RENDER_TIMEOUT = 1000

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** A page that loads nothing, runs its own script and no other, asks its own server, and goes into no frame. */
export function policyFor (style: string, script: string, formAction = "'none'"): string {
  return [
    "default-src 'none'", `style-src ${hash(style)}`, `script-src ${hash(script)}`, "connect-src 'self'", "base-uri 'none'", `form-action ${formAction}`, "frame-ancestors 'none'"
  ].join('; ')
}

export const PAGE_POLICY = policyFor(STYLE, SCRIPT)

/**
 * Pages are rendered by `@fastify/view`: the bundled one in a child of its own, so that the name `view` stays
 * the application's, its engine untouched, and `@fastify/view`'s own hook off its routes.
 */
export async function createPages (fastify: FastifyInstance, template: string | undefined): Promise<Pages> {
  const eta = new Eta()
  // compiled once: the variables are data, never part of the template
  const page = eta.compile(TEMPLATE)
  const renderBundled = await renderInChild(fastify, { engine: { eta } })
  const renderFile = template === undefined ? null : await renderInChild(fastify, { engine: { eta: new Eta() }, templates: dirname(resolve(template)) })

  return {
    async bundled (variables, customMessage) {
      return new Map(await Promise.all(LANGUAGES.map(async language =>
        [language, await renderBundled(page, toPageVariables(variables, customMessage, language))] as const)))
    },
    custom: template === undefined || renderFile === null
      ? null
      : variables => renderChecked(template, async () => {
        const own = findView(fastify)
        return own === undefined ? renderFile(basename(template), variables) : own(template, variables)
      })
  }
}

function toPageVariables (variables: TemplateVariables, customMessage: string | null, language: Language): object {
  return { ...variables, customMessage, language, texts: TEXTS[language], style: STYLE, script: SCRIPT }
}

/** Renders by a `@fastify/view` of its own, which nobody else sees. */
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
    if (typeof html !== 'string') throw new Error('it gives no text')
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
