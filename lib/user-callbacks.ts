import type { FastifyRequest } from 'fastify'
import type { Gate } from './gate.ts'
import type { Settings } from './options.ts'
import { withTimeout } from './util/timeout.ts'

/** How long `ignore.request` and `onBlocked` may take, ms. Then the request is blocked. */
export const CALLBACK_TIMEOUT = 3000

/** Calls a function of the application. It may throw, reject or hang: the promise settles in time. */
export async function callInTime<T> (callback: () => T | Promise<T>): Promise<T> {
  return await withTimeout(Promise.resolve(callback()), CALLBACK_TIMEOUT)
}

/**
 * Asks `ignore.request` whether to let a request through. It fails closed: an error counts as a no, never as a 500, and
 * is logged once per state change.
 */
export function createUserCheck (
  check: Settings['ignore']['request']
): (request: FastifyRequest, gate: Gate) => Promise<boolean> {
  let reported: Gate | undefined
  return async function askUser (request, gate) {
    try {
      return (await callInTime<unknown>(() => check?.(request))) === true
    } catch (error) {
      if (reported !== gate) {
        request.log.error(
          { err: error },
          'maintenance: ignore.request failed, the request is blocked (logged once per state change)'
        )
      }
      reported = gate
      return false
    }
  }
}
