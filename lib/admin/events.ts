import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Maintenance } from '../../types/index.ts'
import { HEADERS } from './headers.ts'

export interface Events {
  /** Opens a stream: the present state at once, then each change. */
  open (request: FastifyRequest, reply: FastifyReply): void
  /** Ends all streams. */
  close (): void
}

const LIMITS = {
  /** A comment is sent at this interval, ms: proxies end connections that are silent. */
  heartbeat: 15_000,
  /** Then the browser comes again, and is asked again who it is, ms. */
  lifetime: 10 * 60_000,
  streams: 100,
  /** Who reads so little of it is cut off, bytes. */
  backlog: 1024 * 1024
}

/** How long the browser waits before it connects again, ms. */
const RETRY = 1000

export const stateOf = (maintenance: Maintenance) => ({
  sites: maintenance.sites.map(site => maintenance.for(site).status())
})

/** Server-Sent Events (HTML standard, section 9.2). */
export function createEvents (maintenance: Maintenance, limits = LIMITS): Events {
  const streams = new Set<FastifyReply['raw']>()
  const unlisten = maintenance.sites.map(site => maintenance.for(site).onChange(() => write(stateEvent())))
  const heartbeat = setInterval(() => write(': \n\n'), limits.heartbeat).unref()

  const stateEvent = (): string => `event: state\ndata: ${JSON.stringify(stateOf(maintenance))}\n\n`

  function write (text: string): void {
    for (const raw of streams) {
      if (raw.writableLength > limits.backlog) raw.destroy()
      else raw.write(text)
    }
  }

  function end (raw: FastifyReply['raw']): void {
    // a connection that is kept alive would hold the server's close
    raw.end(() => raw.destroy())
  }

  return {
    open (request, reply) {
      // an EventSource gives up for good then; the page asks again
      if (streams.size >= limits.streams) {
        reply
          .code(503)
          .header('retry-after', '10')
          .send({
            statusCode: 503,
            error: 'Service Unavailable',
            message: `${limits.streams} streams are open already`
          })
        return
      }
      reply.hijack()
      const { raw } = reply
      raw.writeHead(200, {
        ...(reply.getHeaders() as OutgoingHttpHeaders),
        ...HEADERS,
        'content-type': 'text/event-stream; charset=utf-8',
        'x-accel-buffering': 'no'
      })
      if (request.method === 'HEAD') {
        raw.end()
        return
      }
      raw.on('error', () => {})
      const timer = setTimeout(() => end(raw), limits.lifetime).unref()
      raw.once('close', () => {
        clearTimeout(timer)
        streams.delete(raw)
      })
      streams.add(raw)
      raw.write(`retry: ${RETRY}\n${stateEvent()}`)
    },
    close () {
      clearInterval(heartbeat)
      for (const stop of unlisten) stop()
      streams.forEach(end)
    }
  }
}
