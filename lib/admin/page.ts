import { Eta } from 'eta'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { parseWeights, remembered } from '../util/accept-header.ts'
import { policyFor, renderInChild } from '../answer/page.ts'
import { BYPASS_PATH } from '../bypass/routes.ts'
import type { AdminSettings } from './options.ts'
import { readCookie, writeCookie } from './cookies.ts'
import { tokenFor } from './csrf.ts'
import { SCRIPT } from './script.ts'
import { STYLE } from './style.ts'
import { TEMPLATE } from './template.ts'
import { viewOf, type Failure } from './view.ts'

export interface AdminPage {
  send (request: FastifyRequest, reply: FastifyReply, failure?: Failure): Promise<FastifyReply>
  /** The next page for this browser shows the secret, and no other. */
  hand (request: FastifyRequest, reply: FastifyReply, site: string, secret: string): void
}

const POLICY = policyFor(STYLE, SCRIPT, "'self'")

const SECRET_COOKIE = 'maintenance-link'
/** Longer than a redirect takes, s. */
const SECRET_AGE = 60

export async function createPage (fastify: FastifyInstance, { texts }: AdminSettings): Promise<AdminPage> {
  const eta = new Eta()
  const page = eta.compile(TEMPLATE)
  const render = await renderInChild(fastify, { engine: { eta } })
  const languages = [...texts.keys()] as [string, ...string[]]
  const negotiate = remembered((header: string): string => negotiateLanguage(header, languages))
  const { maintenance } = fastify
  const bypassPath = (fastify as { [BYPASS_PATH]?: string | null })[BYPASS_PATH] ?? null

  /** What a change made a moment ago, to be shown now and never again. */
  function takeSecret (request: FastifyRequest, reply: FastifyReply): [string, string] | null {
    const [secret, site] = readCookie(request, SECRET_COOKIE)?.split(/\.(.*)/) ?? []
    if (secret === undefined || site === undefined) return null
    writeCookie(request, reply, SECRET_COOKIE, '', 0)
    return [site, `${request.protocol}://${request.host}${bypassPath}#${secret}`]
  }

  return {
    async send (request, reply, failure) {
      const language = negotiate(request.headers['accept-language'])
      const made = request.method === 'GET' ? takeSecret(request, reply) : null
      const sites = await Promise.all(maintenance.sites.map(name =>
        viewOf(maintenance, name, failure?.site === name ? failure : null, made?.[0] === name ? made[1] : null)))
      const problem = failure !== undefined && !maintenance.sites.includes(failure.site as string) ? failure.text : null
      const html = await render(page, {
        sites, problem, language, texts: texts.get(language), base: baseOf(request), token: tokenFor(request, reply), hasBypass: bypassPath !== null, emptyRow: { pattern: '', description: '' }, utc
      })
      return reply.code(failure?.status ?? 200)
        .headers({ 'content-security-policy': POLICY, 'content-language': language, vary: 'Accept-Language' })
        .type('text/html; charset=utf-8').send(html)
    },
    hand (request, reply, site, secret) {
      writeCookie(request, reply, SECRET_COOKIE, `${secret}.${site}`, SECRET_AGE)
    }
  }
}

/** Relative, so that a proxy may put the page wherever it likes: from `/maintenance`, what is below it is `./maintenance/…`. */
function baseOf ({ originalUrl }: FastifyRequest): string {
  const [path = ''] = originalUrl.split('?')
  return /(^|\/|\/state)$/.test(path) ? './' : `./${path.slice(path.lastIndexOf('/') + 1)}/`
}

const utc = (time: string): string => `${time.slice(0, 16).replace('T', ' ')} UTC`

/** As for the maintenance page, but among the languages that there are: `fr-CA` is served `fr`. */
function negotiateLanguage (header: string, languages: [string, ...string[]]): string {
  const weights = [...parseWeights(header)].filter(([, weight]) => weight > 0).sort(([, a], [, b]) => b - a)
  const found = weights.map(([range]) => languages.find(language => range === language.toLowerCase()) ?? languages.find(language => range.split('-')[0] === language))
  return found.find(language => language !== undefined) ?? languages[0]
}
