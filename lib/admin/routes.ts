import { STATUS_CODES } from 'node:http'
import type {
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifySchema,
  RouteShorthandOptions
} from 'fastify'
import type { RunningRuns } from '../../types/index.ts'
import { codeOf, ForbiddenError, isConflict, messageOf } from '../errors.ts'
import { localPath } from '../bypass/routes.ts'
import { hasToken } from './csrf.ts'
import { stateOf, type Events } from './events.ts'
import type { Guard } from './guard.ts'
import { isEmptyUpdate, readForm, shownIn, typedIn, withoutUnchanged } from './form.ts'
import { carryOut, parseJson, readJson, siteOf, wrongFields, type Input } from './input.ts'
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

/** Adds the four addresses. They are never blocked, never cached, and never framed. */
export function addRoutes (fastify: FastifyInstance, { guard, page, events }: AdminParts): void {
  const { maintenance } = fastify
  // the application's own parsers may be anything
  fastify.removeAllContentTypeParsers()
  fastify.addContentTypeParser(
    'application/json',
    { parseAs: 'string', bodyLimit: BODY_LIMIT },
    async (_request: FastifyRequest, body: string | Buffer) => parseJson(String(body))
  )
  fastify.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: BODY_LIMIT },
    async (_request: FastifyRequest, body: string | Buffer) => new URLSearchParams(String(body))
  )
  fastify.setErrorHandler(refuse)
  fastify.addHook('onRequest', guard.onRequest)
  fastify.addHook('onSend', async (_request, reply) => {
    const { 'content-security-policy': own, ...others } = HEADERS
    reply.headers(others)
    // authorize may answer with a page of the application
    if (!reply.hasHeader('content-security-policy')) reply.header('content-security-policy', "frame-ancestors 'none'")
  })
  // after authorize, and after the application's own hooks
  fastify.addHook('preHandler', async (_request, reply) => { reply.headers(HEADERS) })

  // for @fastify/swagger
  const options: RouteShorthandOptions = {
    config: OWN_PAGE_CONFIG,
    schema: { hide: true } as FastifySchema,
    bodyLimit: BODY_LIMIT
  }
  fastify.get('/', options, (request, reply) => page.send(request, reply))
  fastify.get('/state', options, async () => stateOf(maintenance))
  fastify.get('/events', options, (request, reply) => events.open(request, reply))
  fastify.post('/state', options, async (request, reply) => {
    const by = guard.nameOf(request)
    if (!(request.body instanceof URLSearchParams)) return carryOut(maintenance, readJson(request.body), by)
    const form = request.body
    const input = withRevision(withoutUnchanged(readForm(form), form), form)
    try {
      if (!hasToken(request, form.get('token'))) throw new ForbiddenError('the token of the form is wrong')
      // nothing to save
      if (form.has('was') && isEmptyUpdate(input)) return back(request, reply)
      const { site, bypass } = await carryOut(maintenance, input, by)
      if (bypass !== undefined) page.setSecretCookie(request, reply, site, bypass.secret)
      return back(request, reply)
    } catch (error) {
      if (!isOurs(error)) throw error
      // to show what the other change did
      if (isConflict(error)) await maintenance.for(siteOf(maintenance, input)).refresh()
      return page.send(request, reply, failureOf(error, input, form))
    }
  })

  /** The renewal of a lease changes the revision, but nothing that the page shows. */
  function withRevision (input: Input, form: URLSearchParams): Input {
    const site = siteOf(maintenance, input)
    if (!maintenance.sites.includes(site) || input.change.expectedRevision === undefined) return input
    const { changedAt, revision } = maintenance.for(site).status()
    if (form.get('changedAt') !== (changedAt ?? '')) return input
    return { ...input, change: { ...input.change, expectedRevision: revision } }
  }

  function back (request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const [path = ''] = request.originalUrl.split('?')
    return reply.redirect(localPath(path.replace(/state$/, '')), 303)
  }

  function failureOf (error: OurError, input: Input, form: URLSearchParams): Failure {
    // the first one that the error names may be wrong only together with another one
    const wrong = error.code === 'FST_ERR_MAINTENANCE_CHANGE' ? [...wrongFields(input), baseField(error.field)] : []
    return {
      status: error.statusCode as number,
      text: messageOf(error),
      kind: kindOf(error, wrong),
      site: siteOf(maintenance, input),
      runs: error.runs ?? [],
      form: formIn(form, input),
      wrong,
      typed: typedIn(form),
      shown: shownIn(form)
    }
  }
}

/** An error of this plugin, with the details that some of them have. */
type OurError = FastifyError & { field?: string } & Partial<RunningRuns>

/** Which form was sent; a button has no fields to keep. */
function formIn (form: URLSearchParams, { action, window }: Input): string | null {
  if (action === 'on') return form.get('startsAt') ? 'announce' : 'close'
  return action === 'update' && form.has('was') ? String(window) : null
}

/** A list is one field of the page, a route is a row of its own. */
const baseField = (field = ''): string =>
  field.replace(/^(ignoreIps|onlyRoutes)\[.*/, '$1').replace(/^(ignoreRoutes\[\d+\]).*/, '$1')

function kindOf (error: FastifyError, wrong: readonly string[]): Failure['kind'] {
  if (isConflict(error)) return 'conflict'
  if (error.code === 'FST_ERR_MAINTENANCE_RUNNING') return 'running'
  if (error.code === 'FST_ERR_MAINTENANCE_FORBIDDEN') return 'formExpired'
  return wrong.some(isShown) ? 'wrongFields' : 'other'
}

/** Does the form have a place for the error? */
const isShown = (field: string): boolean =>
  /^(message|mode|startsAt|endsAt|retryAfter|bypass|ignoreIps|onlyRoutes|ignoreRoutes\[\d+\])$/.test(field)

const isOurs = (error: unknown): error is OurError => String(codeOf(error)).startsWith('FST_ERR_MAINTENANCE_')

/**
 * Answers our own errors and those of the body (415, 413, …). What `authorize` throws goes to the application's error
 * handler.
 */
function refuse (error: OurError, _request: FastifyRequest, reply: FastifyReply): void {
  const { code, message, field, runs } = error
  if (!isOurs(error) && !String(code).startsWith('FST_ERR_CTP_')) throw error
  // all of them have one
  const statusCode = error.statusCode as number
  reply.code(statusCode).headers(HEADERS).type('application/json; charset=utf-8')
    .send(JSON.stringify({ statusCode, code, error: STATUS_CODES[statusCode], message, field, runs }))
}
