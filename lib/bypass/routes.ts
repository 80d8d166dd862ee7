import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, RouteShorthandOptions } from 'fastify'
import { formatCookie } from '../util/cookie.ts'
import { isObject } from '../util/validate.ts'
import type { BypassSettings } from '../options.ts'
import type { Place } from '../sites.ts'
import { BYPASS_PAGE, BYPASS_POLICY } from './page.ts'
import type { Guesses } from './request.ts'
import { OWN_PAGE_CONFIG } from '../route-config.ts'

/** Under which the instance carries the path of the page, or `null`: the admin page links to it. */
export const BYPASS_PATH = Symbol.for('fastify-maintenance.bypass-path')

const BODY_LIMIT = 4096

/** The page where a secret is turned into a cookie. It is never behind the gate, and never kept. */
export async function addBypassRoutes (fastify: FastifyInstance, settings: BypassSettings, guesses: Guesses, placeOf: (request: FastifyRequest) => Place): Promise<void> {
  await fastify.register(async function maintenanceBypass (child) {
    // the application's own parsers may be anything
    child.removeAllContentTypeParsers()
    child.addContentTypeParser('application/json', { parseAs: 'string' }, async (_request: FastifyRequest, body: string | Buffer) => parse(() => JSON.parse(String(body))))
    child.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, async (_request: FastifyRequest, body: string | Buffer) => Object.fromEntries(new URLSearchParams(String(body))))
    // whatever is wrong, the answer is the same
    child.setErrorHandler((_error, _request, reply) => refuse(reply))
    child.addHook('onSend', async (_request, reply) => {
      reply.headers({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-frame-options': 'DENY' })
    })
    // @fastify/swagger leaves out what is hidden; without it, the word means nothing
    const options: RouteShorthandOptions = { config: OWN_PAGE_CONFIG, schema: { hide: true } as FastifySchema, bodyLimit: BODY_LIMIT }
    child.get(settings.path, options, (_request, reply) => {
      reply.header('content-security-policy', BYPASS_POLICY).type('text/html; charset=utf-8').send(BYPASS_PAGE)
    })
    child.post(settings.path, options, (request, reply) => {
      const body = isObject(request.body) ? request.body : {}
      const { pass, clock } = placeOf(request).gate
      if (pass === null || !guesses.check(request, () => pass.isSecret(body.secret))) return refuse(reply)
      const cookie = { name: settings.cookie, value: pass.makeCookie(clock()), maxAge: settings.ttl, sameSite: 'Lax' } as const
      reply.header('set-cookie', formatCookie(cookie, request))
      const location = localPath(body.next ?? (request.query as { next?: unknown }).next)
      reply.header('location', location).code(isJson(request) ? 204 : 303).send()
    })
  })
}

function parse (read: () => unknown): unknown {
  try {
    return read()
  } catch {
    return null
  }
}

const isJson = (request: FastifyRequest): boolean => request.headers['content-type']?.includes('json') === true

function refuse (reply: FastifyReply): void {
  reply.code(403).type('text/plain; charset=utf-8').send('This is not the secret of the maintenance that is under way.\n')
}

/** Where to go then: a path of this site, and nothing that a browser takes for another one. */
export function localPath (next: unknown): string {
  // eslint-disable-next-line no-control-regex -- browsers drop control characters, and then see something else
  if (typeof next !== 'string' || !/^\/(?!\/)[^\u0000-\u0020\\\u007f-\uffff]*$/.test(next)) return '/'
  const { pathname, search, hash } = new URL(next, 'http://local')
  // what `/.//` becomes
  return pathname.startsWith('//') ? '/' : `${pathname}${search}${hash}`
}
