// Socket.IO takes its requests from the server before Fastify sees them. This refuses new connections while the site is
// closed, and ends those that are open when it closes.
import { Server } from 'socket.io'

/** Call it after the plugin is registered, and before the server listens. */
export function createSocketIo (app) {
  const io = new Server(app.server, {
    // asked about each new connection, by polling or WebSocket
    allowRequest: (request, done) => done(null, !app.maintenance.active)
  })
  // they try again until the site is open; after io.disconnectSockets(), clients do not
  app.maintenance.onChange(() => {
    if (app.maintenance.active) for (const client of Object.values(io.engine.clients)) client.close()
  })
  app.addHook('preClose', async () => { io.engine.close() })
  return io
}
