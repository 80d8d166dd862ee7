import type { FastifyInstance, FastifyReply, RouteOptions } from 'fastify'
import { types } from 'node:util'

/** Is the handler of a request at work? Only promises of async handlers tell; a callback may still be called. */
export type Work = 'pending' | 'answered' | 'unknown'

/**
 * Keeps what the handlers of routes return on their replies. It is looked at only after a client has hung up: no
 * request pays for a listener. Routes that were declared earlier, and not-found handlers, are not seen.
 */
export function watchHandlers (fastify: FastifyInstance): (reply: FastifyReply) => Work {
  const key = Symbol('fastify-maintenance.work')
  const works = new WeakMap<Promise<unknown>, Work>()

  fastify.decorateReply(key, null)
  fastify.addHook('onRoute', function keepResult (route: RouteOptions) {
    const { handler } = route
    route.handler = function (request, reply) {
      const result = handler.call(this, request, reply)
      ;(reply as unknown as Record<symbol, unknown>)[key] = result
      return result
    }
  })

  function follow (reply: FastifyReply, promise: Promise<unknown>): Work {
    works.set(promise, 'pending')
    const leavesAnswer = watchReturn(reply)
    promise.then(
      value => {
        works.set(promise, value === undefined && leavesAnswer() ? 'unknown' : 'answered')
      },
      () => {
        works.set(promise, 'unknown')
      }
    )
    return 'pending'
  }

  return function workOf (reply) {
    const result = (reply as unknown as Record<symbol, unknown>)[key]
    // other thenables do their work when they are asked for it
    return types.isPromise(result) ? works.get(result) ?? follow(reply, result) : 'unknown'
  }
}

/**
 * A handler whose promise fulfils without a value has returned nothing, and is done, or its reply, and leaves the
 * answer to a callback: then its promise has asked the reply for `then`. What it did before the hang-up is unknown;
 * its promise has fulfilled by then, or does so at once.
 * @returns can the answer still come from a callback?
 */
function watchReturn (reply: FastifyReply): () => boolean {
  const { then } = reply
  let isUnknown = true
  let isReturned = false
  setImmediate(() => { isUnknown = false })
  Object.defineProperty(reply, 'then', {
    configurable: true,
    get () {
      isReturned = true
      return then
    }
  })
  return () => isUnknown || isReturned || reply.sent
}
