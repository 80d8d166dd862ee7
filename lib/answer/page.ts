import { createHash } from 'node:crypto'
import view from '@fastify/view'
import { Eta } from 'eta'
import type { FastifyInstance } from 'fastify'
import type { Mode } from '../../types/index.ts'
import { STYLE, TEMPLATE } from './template.ts'

/** What a template can use. */
export interface TemplateVariables {
  readonly message: string
  readonly mode: Mode
  readonly site: string
  /** ISO 8601 */
  readonly startsAt: string | null
  /** ISO 8601 */
  readonly endsAt: string | null
  /** Seconds, at the time of rendering. */
  readonly retryAfter: number | null
  readonly statusCode: number
}

export type RenderPage = (variables: TemplateVariables) => Promise<string>

/** The bundled page loads nothing, runs nothing, and goes into no frame. */
export const PAGE_POLICY =
  `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

/**
 * The bundled page, rendered by `@fastify/view` in a child of its own: the name `view` stays the
 * application's, its Eta configuration untouched, and `@fastify/view`'s own hook off its routes.
 */
export async function createPage (fastify: FastifyInstance): Promise<RenderPage> {
  const eta = new Eta()
  // compiled once: the variables are data, never part of the template
  const page = eta.compile(TEMPLATE)
  let render: RenderPage | undefined
  await fastify.register(async function maintenancePage (child) {
    await child.register(view, { engine: { eta }, production: true })
    // @fastify/view takes compiled templates too, which its types leave out
    render = async variables => await child.view(page as unknown as string, variables)
  })
  return render as unknown as RenderPage
}
