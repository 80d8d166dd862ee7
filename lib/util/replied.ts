import type { FastifyReply } from 'fastify'

/** The replies that are watched: has somebody begun to answer? */
const watched = new WeakMap<FastifyReply, { replied: boolean }>()

/**
 * From now on, `hasReplied` sees answers that are still on their way. `reply.sent` alone comes too late: while an
 * `onSend` hook of the application is still at work, it says no.
 */
export function watchReply (reply: FastifyReply): void {
  if (watched.has(reply)) return
  const seen = { replied: false }
  watched.set(reply, seen)
  for (const name of ['send', 'callNotFound'] as const) {
    const original = reply[name] as (...args: unknown[]) => FastifyReply
    reply[name] = (...args: unknown[]) => {
      seen.replied = true
      try {
        return original.apply(reply, args)
      } catch (error) {
        seen.replied = false
        throw error
      }
    }
  }
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

/** Nothing more can be done for this request, but its client must not wait for ever. */
export function giveUp ({ raw }: FastifyReply): void {
  if (!hasBegun(raw)) raw.destroy()
}
