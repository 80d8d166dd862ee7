import { Eta } from 'eta'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PALETTE, policyFor, renderInChild } from '../answer/page.ts'
import { BYPASS_PATH } from '../bypass/routes.ts'
import { remembered } from '../util/accept-header.ts'
import { chooseLanguage } from '../util/accept-language.ts'
import { readAsset } from '../util/asset.cjs'
import { cookieName, findCookie, formatCookie } from '../util/cookie.ts'
import { tokenFor } from './csrf.ts'
import type { AdminSettings } from './options.ts'
import { viewOf, type Failure } from './view.ts'

export interface AdminPage {
  send (request: FastifyRequest, reply: FastifyReply, failure?: Failure): Promise<FastifyReply>
  /** Makes the next page for this browser show a new secret, once. */
  setSecretCookie (request: FastifyRequest, reply: FastifyReply, site: string, secret: string): void
}

const STYLE = PALETTE + readAsset('admin/page/admin.css')
const SCRIPT = readAsset('admin/page/admin.client.js')
const PARTS = ['hidden', 'state', 'head', 'once', 'window', 'form', 'aside']
const POLICY = policyFor(STYLE, SCRIPT, "'self'")

const SECRET_COOKIE = 'maintenance-link'
/** Longer than a redirect takes, s. */
const SECRET_AGE = 60
/** 192 random bits and the name of a site. */
const SECRET = /^[\w-]{32}\.[\w.-]{1,64}$/

export async function createPage (fastify: FastifyInstance, { texts }: AdminSettings): Promise<AdminPage> {
  const eta = new Eta()
  for (const name of PARTS) eta.loadTemplate(`@${name}`, readAsset(`admin/page/${name}.eta`))
  const page = eta.compile(readAsset('admin/page/page.eta')).bind(eta)
  const render = await renderInChild(fastify, { engine: { eta } })
  const languages = [...texts.keys()] as [string, ...string[]]
  const languageOf = remembered((header: string) => chooseLanguage(header, languages, languages[0]))
  const { maintenance } = fastify
  const bypassPath = (fastify as { [BYPASS_PATH]?: string | null })[BYPASS_PATH] ?? null

  /** The link that was made a moment ago, to be shown now and never again. */
  function takeLink (request: FastifyRequest, reply: FastifyReply): { site: string, link: string } | null {
    const name = cookieName(SECRET_COOKIE, request)
    const [, secret, site] =
      findCookie(request.headers.cookie ?? '', name, value => SECRET.test(value))?.split(/^(.{32})\./) ?? []
    if (secret === undefined || site === undefined) return null
    reply.header('set-cookie', formatCookie({ name: SECRET_COOKIE, value: '', maxAge: 0, sameSite: 'Strict' }, request))
    return { site, link: `${request.protocol}://${request.host}${bypassPath}#${secret}` }
  }

  return {
    async send (request, reply, failure) {
      const language = languageOf(request.headers['accept-language'])
      const made = request.method === 'GET' ? takeLink(request, reply) : null
      const sites = await Promise.all(maintenance.sites.map(name =>
        viewOf(maintenance, name, failure?.site === name ? failure : null, made?.site === name ? made.link : null)))
      const problem = failure !== undefined && !maintenance.sites.includes(failure.site as string) ? failure.text : null
      const html = await render(page, {
        sites,
        problem,
        language,
        t: texts.get(language),
        base: baseOf(request),
        token: tokenFor(request, reply),
        canBypass: bypassPath !== null,
        style: STYLE,
        script: SCRIPT,
        time
      })
      return reply.code(failure?.status ?? 200)
        .headers({ 'content-security-policy': POLICY, 'content-language': language, vary: 'Accept-Language' })
        .type('text/html; charset=utf-8').send(html)
    },
    setSecretCookie (request, reply, site, secret) {
      reply.header(
        'set-cookie',
        formatCookie(
          { name: SECRET_COOKIE, value: `${secret}.${site}`, maxAge: SECRET_AGE, sameSite: 'Strict' },
          request
        )
      )
    }
  }
}

/** Relative, so that a proxy can move the page: from `/maintenance`, everything is below `./maintenance/`. */
function baseOf ({ originalUrl }: FastifyRequest): string {
  const [path = ''] = originalUrl.split('?')
  return /(^|\/|\/state)$/.test(path) ? './' : `./${path.slice(path.lastIndexOf('/') + 1)}/`
}

/** A time as HTML; the script puts it into the zone of the browser. */
const time = (iso: string): string => `<time datetime="${iso}">${iso.slice(0, 16).replace('T', ' ')} UTC</time>`
