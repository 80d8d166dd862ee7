import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, RouteShorthandOptions } from 'fastify'
import { cookieName, findCookie, formatCookie } from '../util/cookie.ts'
import { isObject } from '../util/validate.ts'
import type { BypassSettings } from './settings.ts'
import { BYPASS_PAGE, BYPASS_POLICY } from './page.ts'
import { joinTokens, tokensOf, type BypassRules } from './request.ts'
import type { Pass } from '../state/secret.ts'
import { OWN_PAGE_CONFIG } from '../route-config.ts'

/** Under which the instance carries the path of the page, or `null`: the admin page links to it. */
export const BYPASS_PATH = Symbol.for('fastify-maintenance.bypass-path')

const BODY_LIMIT = 4096

export interface BypassRouteParts {
  readonly rules: BypassRules
  /** The secrets of the windows that close the site of a request now. */
  readonly passesOf: (request: FastifyRequest) => readonly Pass[]
  /** By which cookies expire, ms. */
  readonly clock: () => number
}

/** The page where a secret is turned into a cookie. It is never blocked, and never cached. */
export async function addBypassRoutes (
  fastify: FastifyInstance, { rules: { settings, guesses }, passesOf, clock }: BypassRouteParts
): Promise<void> {
  await fastify.register(async function maintenanceBypass (child) {
    // the application's own parsers may be anything
    child.removeAllContentTypeParsers()
    child.addContentTypeParser(
      'application/json',
      { parseAs: 'string' },
      async (_request: FastifyRequest, body: string | Buffer) => parse(() => JSON.parse(String(body)))
    )
    child.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string' },
      async (_request: FastifyRequest, body: string | Buffer) => Object.fromEntries(new URLSearchParams(String(body)))
    )
    // whatever is wrong, the answer is the same
    child.setErrorHandler((_error, _request, reply) => refuse(reply))
    child.addHook('onSend', async (_request, reply) => {
      reply.headers({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-frame-options': 'DENY' })
    })
    // @fastify/swagger leaves out what is hidden; without it, the word means nothing
    const options: RouteShorthandOptions = {
      config: OWN_PAGE_CONFIG,
      schema: { hide: true } as FastifySchema,
      bodyLimit: BODY_LIMIT
    }
    child.get(settings.path, options, (_request, reply) => {
      reply.header('content-security-policy', BYPASS_POLICY).type('text/html; charset=utf-8').send(BYPASS_PAGE)
    })
    child.post(settings.path, options, (request, reply) => {
      const body = isObject(request.body) ? request.body : {}
      const passes = passesOf(request)
      if (!guesses.check(request, passes, body.secret)) return refuse(reply)
      const pass = passes.find(pass => pass.isSecret(body.secret)) as Pass
      const others = passes.filter(other => other !== pass)
      const tokens = [pass.makeCookie(clock()), ...validTokens(request, others, settings, clock())]
      const cookie = {
        name: settings.cookie,
        value: joinTokens(tokens),
        maxAge: settings.ttl,
        sameSite: 'Lax'
      } as const
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
  reply
    .code(403)
    .type('text/plain; charset=utf-8')
    .send('This secret is not valid (any more).\n')
}

/** Of the cookie that the browser has: the tokens of the other windows stay valid. */
function validTokens (
  request: FastifyRequest,
  passes: readonly Pass[],
  settings: BypassSettings,
  now: number
): string[] {
  const tokens: string[] = []
  findCookie(request.headers.cookie ?? '', cookieName(settings.cookie, request), value => {
    tokens.push(...tokensOf(value).filter(token => passes.some(pass => pass.expiryOf(token) > now)))
    return false
  })
  return tokens
}

/** Where to go then: a path of this site, and nothing that a browser takes for another one. */
export function localPath (next: unknown): string {
  // eslint-disable-next-line no-control-regex -- browsers drop control characters, and then see something else
  if (typeof next !== 'string' || !/^\/(?!\/)[^\u0000-\u0020\\\u007f-\uffff]*$/.test(next)) return '/'
  const { pathname, search, hash } = new URL(next, 'http://local')
  // what `/.//` becomes
  return pathname.startsWith('//') ? '/' : `${pathname}${search}${hash}`
}
