import type { EventEmitter } from 'node:events'
import type { FastifyReply, FastifyRequest } from 'fastify'

type Raw = FastifyReply['raw'] & { stream?: { destroyed: boolean, closed: boolean } }
type RawRequest = FastifyRequest['raw'] & { stream?: { session?: object } }

/**
 * The socket, or the session of HTTP/2, where sockets are stand-ins. A request that no server of Node has received may
 * have neither: then it shares its connection with no other.
 */
export const connectionOf = (raw: FastifyRequest['raw']): object =>
  (raw as RawRequest).stream?.session ?? (raw.socket as object | undefined) ?? raw

/** One listener for each connection, however many requests are pipelined on it. */
const listeners = new WeakMap<EventEmitter, Set<() => void>>()

/**
 * Has the client hung up, or the answer been sent? Node never closes a pipelined response whose turn has not come, so
 * the socket is asked as well. A response of HTTP/2 does not say so itself, but its stream does. It may be closed and
 * never be destroyed.
 */
export function isGone ({ raw, request }: FastifyReply): boolean {
  const { stream } = raw as Raw
  return stream === undefined ? raw.destroyed || request.raw.socket.destroyed : stream.destroyed || stream.closed
}

/**
 * Calls `listener` when the client hangs up, or the answer has been sent.
 * @returns takes the listener off again
 */
export function onGone ({ raw, request }: FastifyReply, listener: () => void): () => void {
  const pipelined = (raw as Raw).stream === undefined ? listenersOf(request.raw.socket) : undefined
  raw.once('close', listener)
  pipelined?.add(listener)
  return () => {
    raw.off('close', listener)
    pipelined?.delete(listener)
  }
}

function listenersOf (socket: EventEmitter): Set<() => void> {
  const known = listeners.get(socket)
  if (known !== undefined) return known
  const created = new Set<() => void>()
  listeners.set(socket, created)
  socket.once('close', () => { for (const listener of created) listener() })
  return created
}
