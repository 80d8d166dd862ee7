import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { FastifyMaintenanceAdminOptions } from '../../types/admin.ts'
import { ForbiddenError } from '../errors.ts'
import { toName } from '../state/message.ts'
import { withTimeout } from '../util/timeout.ts'
import { checkOrigin } from './csrf.ts'

type Authorize = FastifyMaintenanceAdminOptions['authorize']

export interface Guard {
  /** Runs before the body is read. */
  onRequest (request: FastifyRequest, reply: FastifyReply): Promise<unknown>
  /** The user's name, if `authorize` gave one. */
  nameOf (request: FastifyRequest): string | undefined
}

/** An `authorize` that has not answered by then rejects the request, ms. */
const TIMEOUT = 10_000

/** @param fastify what `authorize` is called on, as Fastify does with hooks */
export function createGuard (fastify: FastifyInstance, authorize: Authorize, timeout = TIMEOUT): Guard {
  const names = new WeakMap<FastifyRequest, string>()
  // with a status of its own: one that authorize set and never sent does not count
  const late = (): Error =>
    Object.assign(new Error(`authorize did not answer within ${timeout} ms`), { statusCode: 503 })
  return {
    async onRequest (request, reply) {
      checkOrigin(request)
      const { hasReplied, replied } = watchReply(reply)
      try {
        const answer = await withTimeout(
          Promise.race([call(fastify, authorize, request, reply), replied]),
          timeout,
          late
        )
        if (!hasReplied()) names.set(request, nameIn(answer, reply))
      } catch (error) {
        if (!hasReplied()) throw refusalOf(error, request, reply)
      }
      // Settling would run the route if the client hung up before the reply was sent.
      if (hasReplied()) return new Promise(() => {})
    },
    nameOf: request => names.get(request) || undefined
  }
}

/**
 * Calls `authorize` as Fastify calls a hook: with three parameters, only `done` lets it through, and the first
 * event counts.
 */
async function call (
  fastify: FastifyInstance,
  authorize: Authorize,
  request: FastifyRequest,
  reply: FastifyReply
): Promise<unknown> {
  // one that passes on its arguments must not fail later, in a callback, where nobody catches it
  if (authorize.length < 3) return authorize.call(fastify, request, reply, () => {})
  return new Promise((resolve, reject) => {
    const done = (...args: [error?: unknown, name?: unknown]): void => {
      const [error, name] = args
      if (error !== undefined && error !== null) reject(error)
      // done(null, user?.name) must not let in a stranger
      else resolve(args.length > 1 ? name : true)
    }
    Promise.resolve(authorize.call(fastify, request, reply, done)).catch(reject)
  })
}

/**
 * Has `authorize` replied? `reply.sent` comes too late: it is false while an `onSend` hook of the application runs.
 * `replied` resolves then, or when the connection is closed.
 */
function watchReply (reply: FastifyReply): { hasReplied (): boolean, replied: Promise<void> } {
  let called = false
  const replied = new Promise<void>(resolve => {
    for (const name of ['send', 'callNotFound', 'hijack'] as const) {
      const original = reply[name] as (...args: unknown[]) => FastifyReply
      reply[name] = (...args: unknown[]) => {
        called = true
        resolve()
        return original.apply(reply, args)
      }
    }
    reply.raw.once('close', resolve)
  })
  return { hasReplied: () => called || reply.sent || reply.raw.headersSent, replied }
}

/**
 * The name in a yes; `''` for `true`.
 * @throws FST_ERR_MAINTENANCE_FORBIDDEN for everything else
 */
function nameIn (answer: unknown, reply: FastifyReply): string {
  // whatever the identity provider calls them, operators must be able to save
  const name = typeof answer === 'string' ? toName(answer) : ''
  // a status that was set but never sent, such as that of a redirect, contradicts a yes
  if ((answer !== true && name === '') || reply.statusCode >= 300) {
    throw new ForbiddenError('authorize rejected the request')
  }
  return name
}

/** A 4xx error is an answer to the client. Any other is a failure, whose text is only for the log. */
function refusalOf (error: unknown, request: FastifyRequest, reply: FastifyReply): unknown {
  const status = statusOf(error)
  if (isClientError(status)) {
    reply.code(status)
    return error
  }
  // @fastify/auth sets the status on the reply
  const statusCode = status === undefined && isClientError(reply.statusCode) ? reply.statusCode : 403
  request.log.error({ err: error }, 'maintenance: authorize failed, the request is rejected')
  return Object.assign(new ForbiddenError('authorize rejected the request'), { statusCode })
}

/** A getter that throws must not show its own text instead. */
function statusOf (error: unknown): unknown {
  try {
    const { statusCode, status } = (error ?? {}) as { statusCode?: unknown, status?: unknown }
    return statusCode ?? status
  } catch {
    return undefined
  }
}

const isClientError = (status: unknown): status is number =>
  Number.isInteger(status) && Number(status) >= 400 && Number(status) <= 499
