import type { FastifyInstance } from 'fastify'
import type { Log } from './util/log.ts'

type Listener = (...args: unknown[]) => void

/**
 * Warns once if another listener answers the upgrades of the server (Socket.IO, ws, gateways of NestJS): no hook of
 * Fastify runs for them. Some are added after `ready()`, so it looks again when the server listens.
 */
export function watchUpgradeListeners (fastify: FastifyInstance, log: Log): void {
  let warned = false
  const check = async () => {
    if (warned || !hasForeignListener(fastify.server)) return
    warned = true
    log.warn(
      "maintenance: the server has a listener for 'upgrade' that bypasses Fastify: its WebSockets stay open while the site is closed. See docs/around-fastify.md#socketio-and-ws"
    )
  }
  fastify.addHook('onReady', check)
  fastify.addHook('onListen', check)
}

const hasForeignListener = (server: FastifyInstance['server']): boolean =>
  server.listeners('upgrade').some(listener => !isHandedToFastify(listener as Listener, server))

/**
 * The listener of @fastify/websocket calls `fastify.routing`; @fastify/http-proxy keeps its own under a symbol of the
 * server.
 */
function isHandedToFastify (listener: Listener, server: FastifyInstance['server']): boolean {
  return (
    /\brouting\(/.test(String(listener)) ||
    Object.getOwnPropertySymbols(server).some(key => Reflect.get(server, key) === listener)
  )
}
