import type { EventEmitter } from 'node:events'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CloseStreamsOptions, Decision } from '../../types/index.ts'
import { isUpgraded } from './in-flight.ts'

/** A site as far as its streams matter. */
export interface StreamingSite {
  readonly gate: { readonly active: boolean }
  streams (): FastifyReply[]
  onGate (listener: () => void): void
}

/** A client has so long to take the end, and to say good-bye, ms. */
const GOODBYE = 2000
/** RFC 6455 section 5.5.1: a close frame with the code 1012, Service Restart; clients come back later. */
const CLOSE_FRAME = Buffer.from([0x88, 0x02, 0x03, 0xf4])

/**
 * Ends the streams that were opened before a site closed, spread over a while.
 * @param explain what the gate says of a request now: who may enter a closed site keeps the stream
 */
export function closeStreams (sites: readonly StreamingSite[], { after, jitter }: Readonly<Required<CloseStreamsOptions>>, explain: (request: FastifyRequest) => Decision): void {
  const ending = new WeakSet<FastifyReply>()
  const isRefused = ({ request }: FastifyReply): boolean => explain(request).blocked

  for (const site of sites) {
    site.onGate(() => {
      if (site.gate.active) site.streams().filter(stream => !ending.has(stream) && isRefused(stream)).forEach(endLater)
    })
  }

  function endLater (stream: FastifyReply): void {
    ending.add(stream)
    const timer = setTimeout(() => {
      ending.delete(stream)
      if (isRefused(stream)) end(stream)
    }, after + Math.random() * jitter).unref()
    stream.raw.once('close', () => clearTimeout(timer))
  }
}

function end (stream: FastifyReply): void {
  if (isUpgraded(stream)) return endUpgraded(stream)
  const { raw } = stream
  // the application may go on writing until it hears of the end: that harms nobody
  raw.on('error', () => {})
  raw.end()
  destroyLater(raw)
}

function destroyLater (connection: EventEmitter & { destroy (): unknown }): void {
  const timer = setTimeout(() => connection.destroy(), GOODBYE).unref()
  connection.once('close', () => clearTimeout(timer))
}

/** Whatever library serves it, what it writes are whole frames, so that one more may stand between them. */
function endUpgraded ({ request: { raw: { headers, socket } } }: FastifyReply): void {
  if (headers.upgrade?.toLowerCase() !== 'websocket') return socket.destroySoon()
  socket.write(CLOSE_FRAME)
  destroyLater(socket)
}
