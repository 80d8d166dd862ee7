// ws takes its upgrades from the server before Fastify sees them. This refuses new WebSockets while the site is closed,
// and ends those that are open when it closes.
import { WebSocketServer } from 'ws'

/** Call it after the plugin is registered, and before the server listens. */
export function createWebSockets (app) {
  const wss = new WebSocketServer({
    server: app.server,
    verifyClient: (info, done) => done(!app.maintenance.active, 503, 'Service Unavailable', { 'Retry-After': '60' })
  })
  app.maintenance.onChange(() => {
    if (!app.maintenance.active) return
    for (const socket of wss.clients) {
      socket.close(1012, 'maintenance')
      // of a client that does not answer the close, messages would be read for another 30 s
      setTimeout(() => socket.terminate(), 1000).unref()
    }
  })
  app.addHook('preClose', () => {
    for (const socket of wss.clients) socket.terminate()
  })
  return wss
}
