import type { FastifyReply } from 'fastify'

interface Watch {
  replied: boolean
  onTimeout: () => void
}

/** The replies that are watched: has somebody begun to answer? */
const watched = new WeakMap<FastifyReply, Watch>()

/**
 * From now on, `hasReplied` sees answers that are still on their way. `reply.sent` alone comes too late: while an
 * `onSend` hook of the application is still at work, it says no.
 * @param onTimeout called when `handlerTimeout` is over, and answers. Fastify would answer through the application's
 * error handler and `onSend` hooks, and what fails there ends the process. Replaces the one of an earlier call
 */
export function watchReply (reply: FastifyReply, onTimeout: () => void): void {
  const known = watched.get(reply)
  if (known !== undefined) known.onTimeout = onTimeout
  else watch(reply, { replied: false, onTimeout })
}

function watch (reply: FastifyReply, seen: Watch): void {
  watched.set(reply, seen)
  for (const name of ['send', 'callNotFound'] as const) {
    const original = reply[name] as (...args: unknown[]) => FastifyReply
    reply[name] = (...args: unknown[]) => {
      if (!watched.has(reply)) return original.apply(reply, args)
      seen.replied = true
      if (isTimeout(args[0])) return answerInstead(reply, seen.onTimeout)
      try {
        return original.apply(reply, args)
      } catch (error) {
        seen.replied = false
        throw error
      }
    }
  }
}

/** The request is let through: from now on, its answers are the application's. */
export function unwatchReply (reply: FastifyReply): void {
  watched.delete(reply)
}

const isTimeout = (payload: unknown): boolean =>
  payload instanceof Error && (payload as { code?: unknown }).code === 'FST_ERR_HANDLER_TIMEOUT'

/** Called by a timer of Fastify: what it threw would end the process. */
function answerInstead (reply: FastifyReply, answer: () => void): FastifyReply {
  try {
    answer()
  /* c8 ignore next 3 -- sending is guarded; this is the last line of defence */
  } catch {
    giveUp(reply)
  }
  return reply
}

/** Has somebody answered, or begun to, or is the client gone? */
export function hasReplied (reply: FastifyReply): boolean {
  return watched.get(reply)?.replied === true || reply.sent || hasBegun(reply.raw)
}

/** Have the headers been sent, or can nothing be sent any more? */
export function hasBegun (raw: FastifyReply['raw']): boolean {
  return raw.headersSent || raw.writableEnded || isGone(raw)
}

/** A response of HTTP/2 does not say so itself, but its stream does. */
function isGone (raw: FastifyReply['raw'] & { stream?: { destroyed: boolean } }): boolean {
  return raw.stream === undefined ? raw.destroyed : raw.stream.destroyed
}

/** Does `work` after `ms` if an answer that was begun has still not been sent. */
export function standBy ({ raw }: FastifyReply, ms: number, work: () => void): void {
  if (hasBegun(raw)) return
  const timer = setTimeout(work, ms)
  raw.once('close', () => clearTimeout(timer))
}

/** Nothing more can be done for this request, but its client must not wait forever. */
export function giveUp ({ raw }: FastifyReply): void {
  if (!hasBegun(raw)) raw.destroy()
}
