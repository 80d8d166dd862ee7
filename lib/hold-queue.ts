import { AsyncResource } from 'node:async_hooks'
import type { FastifyReply } from 'fastify'
import type { Counts } from './counts.ts'
import { isGone, onGone } from './util/connection.ts'

/** The option `hold`, with its defaults; `timeout` in ms. */
export interface HoldSettings { readonly max: number, readonly timeout: number }

/**
 * How many are released at once, and the pause before the next ones, ms: the site has just opened, and its caches are
 * cold.
 */
const BATCH = 50
const PAUSE = 10

/** A request that waits. */
interface Waiting {
  /** Must it go on waiting? */
  readonly held: () => boolean
  /** Ends the wait, and decides on the request once more. */
  readonly again: () => void
  /** Ends the wait, and blocks the request. */
  readonly block: () => void
}

export interface Hold {
  /**
   * Keeps a request waiting. A request whose client has hung up is dropped.
   * @param counts where it is counted while it waits
   * @param again called when the state has changed, in the async context of this call
   * @param block called when the time is over, in the async context of this call
   * @returns false if no place is left
   */
  add (reply: FastifyReply, counts: Counts, held: () => boolean, again: () => void, block: () => void): boolean
  /** To be called when the state has changed. */
  update (): void
  /** The server closes: blocks all that wait, and holds nothing any more. */
  close (): void
}

/**
 * For short switches: requests wait until the site opens instead of being blocked, within limits of number and time.
 */
export function createHold ({ max, timeout }: HoldSettings): Hold {
  const waiting = new Set<Waiting>()
  let releasing: NodeJS.Timeout | undefined
  let closed = false

  function add (
    reply: FastifyReply,
    counts: Counts,
    held: () => boolean,
    again: () => void,
    block: () => void
  ): boolean {
    if (isGone(reply)) return true
    if (closed || waiting.size >= max) return false
    // otherwise it would go on in the context of the request or timer that changed the state
    const context = new AsyncResource('fastify-maintenance.hold')
    const entry: Waiting = { held, again: () => resume(again), block: () => resume(block) }
    const timer = setTimeout(entry.block, timeout)
    const unwatch = onGone(reply, leave)
    waiting.add(entry)
    counts.held++
    return true

    function resume (next: () => void): void {
      if (leave() && !isGone(reply) && !reply.sent) context.runInAsyncScope(attempt, null, reply, next)
    }

    function leave (): boolean {
      /* c8 ignore next -- a client that hangs up while the batch before it is released */
      if (!waiting.delete(entry)) return false
      clearTimeout(timer)
      unwatch()
      counts.held--
      return true
    }
  }

  function update (): void {
    if (releasing === undefined) release()
  }

  /** In the order in which they came. */
  function release (): void {
    releasing = undefined
    const free = Array.from(waiting).filter(entry => !entry.held())
    for (const entry of free.slice(0, BATCH)) entry.again()
    if (free.length > BATCH && !closed) releasing = setTimeout(release, PAUSE)
  }

  function close (): void {
    closed = true
    clearTimeout(releasing)
    for (const entry of [...waiting]) entry.block()
  }

  return { add, update, close }
}

/** An error must stop neither the requests behind this one nor the process; its own client is not left waiting. */
function attempt (reply: FastifyReply, next: () => void): void {
  try {
    next()
  } catch (error) {
    reply.log.error({ err: error }, 'maintenance: a held request failed')
    if (!reply.sent) reply.raw.destroy()
  }
}
