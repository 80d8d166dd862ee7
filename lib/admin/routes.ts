import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, RouteShorthandOptions } from 'fastify'
import type { MaintenanceStatus } from '../../types/index.ts'
import { codeOf, ForbiddenError, isConflict, messageOf } from '../errors.ts'
import { localPath } from '../bypass/routes.ts'
import { hasToken } from './csrf.ts'
import { stateOf, type Events } from './events.ts'
import type { Guard } from './guard.ts'
import { carryOut, parseJson, readForm, readJson, siteOf, typedIn, wrongFields, type Input } from './input.ts'
import { HEADERS } from './headers.ts'
import type { AdminPage } from './page.ts'
import type { Failure } from './view.ts'
import { OWN_PAGE_CONFIG } from '../route-config.ts'

const BODY_LIMIT = 64 * 1024

export interface AdminParts {
  readonly guard: Guard
  readonly page: AdminPage
  readonly events: Events
}

/** The four addresses. They are never behind the gate, never kept, and in no frame. */
export function addRoutes (fastify: FastifyInstance, { guard, page, events }: AdminParts): void {
  const { maintenance } = fastify
  // the application's own parsers may be anything
  fastify.removeAllContentTypeParsers()
  fastify.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit: BODY_LIMIT }, async (_request: FastifyRequest, body: string | Buffer) => parseJson(String(body)))
  fastify.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string', bodyLimit: BODY_LIMIT }, async (_request: FastifyRequest, body: string | Buffer) => new URLSearchParams(String(body)))
  fastify.setErrorHandler(refuse)
  fastify.addHook('onRequest', guard.onRequest)
  fastify.addHook('onSend', async (_request, reply) => {
    const { 'content-security-policy': own, ...others } = HEADERS
    reply.headers(others)
    // what authorize answers may be a page of the application's
    if (!reply.hasHeader('content-security-policy')) reply.header('content-security-policy', "frame-ancestors 'none'")
  })
  // behind the guard, and after whatever the application's hooks have set
  fastify.addHook('preHandler', async (_request, reply) => { reply.headers(HEADERS) })

  // @fastify/swagger leaves out what is hidden; without it, the word means nothing
  const options: RouteShorthandOptions = { config: OWN_PAGE_CONFIG, schema: { hide: true } as FastifySchema, bodyLimit: BODY_LIMIT }
  fastify.get('/', options, (request, reply) => page.send(request, reply))
  fastify.get('/state', options, async () => stateOf(maintenance))
  fastify.get('/events', options, (request, reply) => events.open(request, reply))
  fastify.post('/state', options, async (request, reply) => {
    const by = guard.nameOf(request)
    if (!(request.body instanceof URLSearchParams)) return carryOut(maintenance, readJson(request.body), by)
    const form = request.body
    const input = readForm(form)
    try {
      if (!hasToken(request, form.get('token'))) throw new ForbiddenError('the token of the form is wrong')
      const status = await carryOut(maintenance, input, by)
      return back(request, reply, status)
    } catch (error) {
      if (!isOurs(error)) throw error
      // what the other one did
      if (isConflict(error)) await maintenance.for(siteOf(maintenance, input)).refresh()
      return page.send(request, reply, failureOf(error, input, form))
    }
  })

  function back (request: FastifyRequest, reply: FastifyReply, { site, bypass }: MaintenanceStatus): FastifyReply {
    if (bypass !== undefined) page.hand(request, reply, site, bypass.secret)
    const [path = ''] = request.originalUrl.split('?')
    return reply.redirect(localPath(path.replace(/state$/, '')), 303)
  }

  function failureOf (error: FastifyError & { field?: string }, input: Input, form: URLSearchParams): Failure {
    // the first one that `set` found may be wrong only beside another one
    const wrong = error.code === 'FST_ERR_MAINTENANCE_CHANGE' ? [...wrongFields(input), String(error.field)] : []
    return { status: error.statusCode as number, text: messageOf(error), kind: kindOf(error, wrong), site: siteOf(maintenance, input), wrong, typed: typedIn(form) }
  }
}

function kindOf (error: FastifyError, wrong: readonly string[]): Failure['kind'] {
  if (isConflict(error)) return 'conflict'
  if (error.code === 'FST_ERR_MAINTENANCE_FORBIDDEN') return 'formExpired'
  return wrong.some(isShown) ? 'wrongFields' : 'other'
}

/** Does the form have a place beside which the error stands? */
const isShown = (field: string): boolean => /^(message|mode|startsAt|endsAt|retryAfter|bypass|ignoreRoutes\[\d+\])$/.test(field)

const isOurs = (error: unknown): error is FastifyError => String(codeOf(error)).startsWith('FST_ERR_MAINTENANCE_')

/** Ours, and those of the body (415, 413, …); what `authorize` throws is its own, and goes to the application's error handler. */
function refuse (error: FastifyError & { field?: string }, _request: FastifyRequest, reply: FastifyReply): void {
  const { code, message, field } = error
  if (!isOurs(error) && !String(code).startsWith('FST_ERR_CTP_')) throw error
  // all of them have one
  const statusCode = error.statusCode as number
  reply.code(statusCode).headers(HEADERS).type('application/json; charset=utf-8')
    .send(JSON.stringify({ statusCode, code, error: STATUS_CODES[statusCode], message, field }))
}
