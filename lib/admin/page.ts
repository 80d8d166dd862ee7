import { Eta } from 'eta'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PALETTE, policyFor, renderInChild } from '../answer/page.ts'
import { BYPASS_PATH } from '../bypass/routes.ts'
import { remembered } from '../util/accept-header.ts'
import { chooseLanguage } from '../util/accept-language.ts'
import { readAsset } from '../util/asset.cjs'
import type { AdminSettings } from './options.ts'
import { readCookie, writeCookie } from './cookies.ts'
import { tokenFor } from './csrf.ts'
import { viewOf, type Failure } from './view.ts'

export interface AdminPage {
  send (request: FastifyRequest, reply: FastifyReply, failure?: Failure): Promise<FastifyReply>
  /** Only the next page of this browser shows the secret. */
  hand (request: FastifyRequest, reply: FastifyReply, site: string, secret: string): void
}

const TEMPLATE = readAsset('admin/page.eta')
const STYLE = PALETTE + readAsset('admin/admin.css')
const SCRIPT = readAsset('admin/admin.client.js')
const POLICY = policyFor(STYLE, SCRIPT, "'self'")

const SECRET_COOKIE = 'maintenance-link'
/** Longer than a redirect takes, s. */
const SECRET_AGE = 60

export async function createPage (fastify: FastifyInstance, { texts }: AdminSettings): Promise<AdminPage> {
  const eta = new Eta()
  const page = eta.compile(TEMPLATE)
  const render = await renderInChild(fastify, { engine: { eta } })
  const languages = [...texts.keys()] as [string, ...string[]]
  const negotiate = remembered((header: string): string => chooseLanguage(header, languages, languages[0]))
  const { maintenance } = fastify
  const bypassPath = (fastify as { [BYPASS_PATH]?: string | null })[BYPASS_PATH] ?? null

  /** The secret of the change before the redirect, to be shown once. */
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
        style: STYLE,
        script: SCRIPT,
        sites,
        problem,
        language,
        texts: texts.get(language),
        base: baseOf(request),
        token: tokenFor(request, reply),
        hasBypass: bypassPath !== null,
        emptyRow: { pattern: '', description: '' },
        utc
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

/** Relative, so that a proxy can serve the page under any path: from `/maintenance`, the rest is at `./maintenance/…`. */
function baseOf ({ originalUrl }: FastifyRequest): string {
  const [path = ''] = originalUrl.split('?')
  return /(^|\/|\/state)$/.test(path) ? './' : `./${path.slice(path.lastIndexOf('/') + 1)}/`
}

const utc = (time: string): string => `${time.slice(0, 16).replace('T', ' ')} UTC`
