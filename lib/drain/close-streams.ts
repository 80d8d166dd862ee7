import type { EventEmitter } from 'node:events'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Decision } from '../../types/index.ts'
import type { Activity } from './activity.ts'
import { isUpgraded } from './in-flight.ts'

/** The option `closeStreams`, with its defaults, in ms. */
export interface CloseStreamsSettings { readonly after: number, readonly jitter: number }

/** A site as far as its streams matter. */
export interface StreamingSite {
  readonly site: { readonly gate: { readonly active: boolean }, onGate (listener: () => void): void }
  readonly activity: Pick<Activity, 'streams'>
}

/** How long a client has to take the end and to close its side, ms. */
const GOODBYE = 2000
/** RFC 6455 section 5.5.1: a close frame with the code 1012, Service Restart; clients come back later. */
const CLOSE_FRAME = Buffer.from([0x88, 0x02, 0x03, 0xf4])

/**
 * Ends the streams that were opened before a site closed, spread over a while.
 * @param explain what the gate says of a request now: a request that it lets through keeps its stream
 */
export function closeStreams (
  { site, activity }: StreamingSite,
  { after, jitter }: CloseStreamsSettings,
  explain: (request: FastifyRequest) => Decision
): void {
  const ending = new WeakSet<FastifyReply>()
  const isBlocked = ({ request }: FastifyReply): boolean => explain(request).blocked

  site.onGate(() => {
    if (site.gate.active) {
      activity
        .streams()
        .filter(stream => !ending.has(stream) && isBlocked(stream))
        .forEach(endLater)
    }
  })

  function endLater (stream: FastifyReply): void {
    ending.add(stream)
    const timer = setTimeout(
      () => {
        ending.delete(stream)
        if (isBlocked(stream)) end(stream)
      },
      after + Math.random() * jitter
    ).unref()
    stream.raw.once('close', () => clearTimeout(timer))
  }
}

function end (stream: FastifyReply): void {
  if (isUpgraded(stream)) return endUpgraded(stream)
  const { raw } = stream
  // the application may go on writing until it notices the end: ignore that
  raw.on('error', () => {})
  raw.end()
  destroyLater(raw)
}

function destroyLater (connection: EventEmitter & { destroy (): unknown }): void {
  const timer = setTimeout(() => connection.destroy(), GOODBYE).unref()
  connection.once('close', () => clearTimeout(timer))
}

/** Every library writes whole frames, so a close frame fits between them. */
function endUpgraded ({ request: { raw: { headers, socket } } }: FastifyReply): void {
  if (headers.upgrade?.toLowerCase() !== 'websocket') return socket.destroySoon()
  socket.write(CLOSE_FRAME)
  destroyLater(socket)
}
