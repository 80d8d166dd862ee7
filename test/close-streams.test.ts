import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { EventEmitter, once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { closeStreams, type StreamingSite } from '../lib/drain/close-streams.ts'
import type { FastifyMaintenanceOptions } from '../types/index.ts'
import { bareApp, createApp, until } from './fixtures/app.ts'
import { counts, endless, get, isPending, listen, raw, WebSocket } from './fixtures/requests.ts'

t.jobs = 4

interface StreamClient { readonly ended: Promise<string>, readonly isOpen: () => boolean }

/** A listening application with event streams and WebSockets, and clients for them. */
async function streamApp (t: Test, options: FastifyMaintenanceOptions = {}) {
  const { app, lines } = bareApp(t)
  await app.register(websocket)
  await app.register(maintenance, {
    ignore: { request: request => request.headers.staff === 'yes' }, bypass: {}, ...options
  })
  const writers: NodeJS.Timeout[] = []
  t.teardown(() => writers.forEach(clearInterval))
  const handler = (_request: FastifyRequest, reply: FastifyReply) => {
    const source = endless()
    // keeps writing, whatever happens to its client
    writers.push(setInterval(() => source.push('data: 2\n\n'), 5))
    reply.type('text/event-stream').send(source)
  }
  app.route({ method: 'GET', url: '/events', handler, wsHandler () {} })
  app.route({ method: 'GET', url: '/ignored', config: { maintenance: 'off' }, handler, wsHandler () {} })
  app.get('/raw', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    writers.push(setInterval(() => reply.raw.write('data: 3\n\n'), 5))
  })
  const port = await listen(app)

  const follow = (connection: EventEmitter, event: string, words: (code: unknown) => string): StreamClient => {
    let open = true
    const ended = new Promise<unknown>(resolve => connection.once(event, resolve)).then(
      code => { open = false; return words(code) }
    )
    return { ended, isOpen: () => open }
  }

  async function events (path = '/events', headers = {}): Promise<StreamClient> {
    const request = httpRequest({ port, host: '127.0.0.1', path, headers: { accept: 'text/event-stream', ...headers } })
    request.on('error', () => {}).end()
    t.teardown(() => request.destroy())
    const [response] = await once(request, 'response')
    t.equal(response.statusCode, 200)
    return follow(response.on('error', () => {}).resume(), 'close', () => response.complete ? 'ended' : 'cut')
  }

  async function socket (path = '/events', headers = {}): Promise<StreamClient> {
    const client = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers })
    t.teardown(() => client.close())
    await once(client, 'open')
    return follow(client, 'close', String)
  }

  async function reconnect (): Promise<number> {
    const client = new WebSocket(`ws://127.0.0.1:${port}/events`).on('error', () => {})
    const [, response] = await once(client, 'unexpected-response')
    response.resume()
    return response.statusCode
  }

  return { app, lines, port, events, socket, reconnect }
}

t.test('closeStreams: WebSockets get 1012, event streams end, clients that reconnect get the 503', { buffered: true }, async t => {
  const { app, events, socket, reconnect } = await streamApp(t, { closeStreams: { after: 50, jitter: 50 } })
  const before = [await events(), await events('/raw'), await socket(), await socket()]
  t.strictSame(counts(app.maintenance.status()), { inFlight: 0, streams: 4 })
  await app.maintenance.set(true)
  await app.maintenance.drained()
  t.strictSame(await Promise.all(before.map(client => client.ended)), ['ended', 'ended', '1012', '1012'])
  t.equal(await reconnect(), 503)
  await until('no stream is left', () => app.maintenance.status().streams === 0)
  // later writes of the application must not end the process
  await sleep(30)
})

t.test('closeStreams: a client that is let through keeps its stream', { buffered: true }, async t => {
  const { app, events, socket } = await streamApp(t, {
    closeStreams: { after: 0, jitter: 0 }, ignore: { ips: '127.0.0.1' }
  })
  const kept = [await events(), await socket()]
  await app.maintenance.set(true)
  t.equal(await isPending(Promise.race(kept.map(client => client.ended))), true)
  t.strictSame(kept.map(client => client.isOpen()), [true, true])
})

t.test("closeStreams: clients with a bypass and routes declared 'off' keep their streams", { buffered: true }, async t => {
  const { app, events, socket } = await streamApp(t, { closeStreams: { after: 0, jitter: 0 } })
  const { bypass } = await app.maintenance.set(true, { bypass: true })
  const secret = { 'maintenance-bypass': bypass?.secret }
  await app.maintenance.set(true, { mode: 'read-only' })
  // let through as reads, or as exempt; full maintenance follows
  const kept = [
    await events('/events', secret), await socket('/events', secret), await events('/ignored'), await socket('/ignored')
  ]
  const reader = await events()
  t.equal(await isPending(reader.ended), true, 'read-only keeps reads')
  await app.maintenance.set(true)
  t.equal(await reader.ended, 'ended')
  t.strictSame(kept.map(client => client.isOpen()), [true, true, true, true])
})

t.test('closeStreams: read-only ends every stream it blocks; streams explain() lets through stay open', { buffered: true }, async t => {
  const { app } = bareApp(t)
  await app.register(websocket)
  await app.register(maintenance, { closeStreams: { after: 0, jitter: 0 } })
  const explained: Record<string, boolean> = {}
  for (const declared of ['none', 'read', 'write'] as const) {
    const config = declared === 'none' ? {} : { maintenance: declared }
    app.route({
      method: 'GET',
      url: `/${declared}`,
      config,
      handler: (_request, reply) => {
        reply.type('text/event-stream').send(endless())
      },
      wsHandler () {}
    })
  }
  const requests: Record<string, FastifyRequest> = {}
  app.addHook('preHandler', async request => {
    requests[`${request.ws ? 'socket' : 'events'} ${request.url}`] = request
  })
  const port = await listen(app)
  const ended = new Set<string>()
  for (const name of ['none', 'read', 'write']) {
    const client = new WebSocket(`ws://127.0.0.1:${port}/${name}`).on('error', () => {})
    client.on('close', () => ended.add(`socket /${name}`))
    t.teardown(() => client.close())
    const request = get(port, `/${name}`).on('close', () => ended.add(`events /${name}`))
    t.teardown(() => request.destroy())
  }
  await until('six streams', () => app.maintenance.status().streams === 6 && Object.keys(requests).length === 6)
  await app.maintenance.set(true, { mode: 'read-only' })
  for (const [name, request] of Object.entries(requests)) explained[name] = app.maintenance.explain(request).blocked
  t.match(explained, {
    'events /none': false, 'events /read': false, 'events /write': true, 'socket /read': false, 'socket /write': true
  })
  const blocked = Object.keys(explained).filter(name => explained[name]).sort()
  await until('the blocked streams have ended', () => [...ended].sort().join() === blocked.join())
  await sleep(100)
  t.strictSame([...ended].sort(), blocked, 'no others')
  await app.maintenance.set(true)
  await until('the others have ended', () => ended.size === 6)
})

t.test('closeStreams: no stream ends if the site reopens before `after`, and each ends once', { buffered: true }, async t => {
  const { app, events, socket } = await streamApp(t, { closeStreams: { after: 3000, jitter: 0 } })
  const clients = [await events(), await socket()]
  await app.maintenance.set(true)
  await app.maintenance.set(true, { message: 'still' })
  await app.maintenance.set(false)
  await sleep(3300)
  t.strictSame(clients.map(client => client.isOpen()), [true, true])
  await app.maintenance.set(true)
  t.strictSame(await Promise.all(clients.map(client => client.ended)), ['ended', '1012'])
})

t.test('closeStreams: off by default', { buffered: true }, async t => {
  const { app, events, socket } = await streamApp(t)
  const clients = [await events(), await socket()]
  await app.maintenance.set(true)
  t.equal(await isPending(Promise.race(clients.map(client => client.ended))), true)
  t.equal(app.maintenance.status().streams, 2)
})

t.test('closeStreams: clients that ignore the end are cut off; other upgrades than WebSockets just end', { buffered: true }, async t => {
  const { app } = bareApp(t)
  await app.register(maintenance, { closeStreams: { after: 0, jitter: 0 } })
  app.server.on('upgrade', (request, socket) => {
    const response = new (createRequire(import.meta.url)('node:http').ServerResponse)(request)
    response.assignSocket(socket)
    app.routing(request, response)
  })
  app.get('/', (request, reply) => {
    reply.hijack()
    request.raw.socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n')
  })
  app.get('/events', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('x'.repeat(10_000_000))
    const writing = setInterval(() => reply.raw.write('more'), 5)
    reply.raw.once('close', () => clearInterval(writing))
  })
  const port = await listen(app)
  const sockets = ['x', 'WebSocket'].map(
    protocol => raw(t, port, `GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`)
  )
  const mute = connect(port, '127.0.0.1').on('error', () => {}).pause()
  mute.write('GET /events HTTP/1.1\r\nHost: a\r\n\r\n')
  t.teardown(() => mute.destroy())
  await until('three streams', () => app.maintenance.status().streams === 3)
  const said = sockets.map(socket => {
    const chunks: Buffer[] = []
    socket.on('data', chunk => { chunks.push(chunk) })
    return () => Buffer.concat(chunks).subarray(-4).toString('hex')
  })
  const closed = sockets.map(socket => once(socket, 'close'))
  await app.maintenance.set(true)
  await Promise.all(closed)
  t.strictSame(said.map(last => last() === '880203f4'), [false, true], 'only WebSockets get a close frame')
  await until('the client that does not read is cut off', () => app.maintenance.status().streams === 0)
})

t.test('closeStreams: options', { buffered: true }, async t => {
  for (const [options, message] of [
    [{ after: -1 }, /closeStreams.after' is -1, expected a duration such as 90s, .* from 0ms to 1h/],
    [{ jitter: '1' }, /closeStreams.jitter' is '1'/],
    [{ jitter: '61m' }, /closeStreams.jitter' is '61m'/],
    [{ now: true }, /closeStreams.now/],
    [true, /closeStreams' is true, expected an object/]
  ] as [never, RegExp][]) {
    const { app } = bareApp(t)
    await t.rejects(async () => { await app.register(maintenance, { closeStreams: options }) }, {
      code: 'FST_ERR_MAINTENANCE_OPTION', message
    })
  }
})

t.test('closeStreams: spread over the jitter', t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  let ended = 0
  const streams = Array.from({ length: 200 }, () => {
    const raw = Object.assign(new EventEmitter(), { end () { ended++ }, destroy () { raw.emit('close') } })
    return { raw, request: { raw: {} }, sent: true } as unknown as FastifyReply
  })
  let change = () => {}
  const site: StreamingSite = {
    site: { gate: { active: true }, onGate (listener) { change = listener } }, activity: { streams: () => streams }
  }
  closeStreams(site, { after: 5000, jitter: 2000 }, () => ({ blocked: true }) as never)
  change()
  change()
  mock.timers.tick(4999)
  t.equal(ended, 0)
  mock.timers.tick(1001)
  t.ok(ended > 50 && ended < 150, `${ended} of 200 in the first half`)
  streams[199]?.raw.emit('close')
  mock.timers.tick(1000)
  t.ok(ended >= 199)
  t.ok(ended <= 200, 'each once')

  // a stream that loses its exemption later gets the full delay from then on
  ended = 0
  let blocked = false
  closeStreams(site, { after: 5000, jitter: 0 }, () => ({ blocked }) as never)
  change()
  mock.timers.tick(3000)
  blocked = true
  change()
  mock.timers.tick(4000)
  t.equal(ended, 0)
  streams[0]?.raw.emit('close')
  mock.timers.tick(1000)
  t.equal(ended, 199, 'one had already ended')
  t.end()
})

t.test("a foreign listener for 'upgrade' logs one warning; one that hands over to Fastify logs none", async t => {
  const warnings = async (use: (app: FastifyInstance) => unknown) => {
    const { app, lines } = await createApp(t)
    await use(app)
    await app.listen({ port: 0, host: '127.0.0.1' })
    return lines.filter(({ msg }) => msg.includes("a listener for 'upgrade' that bypasses Fastify")).length
  }
  const socketIo = (app: FastifyInstance) => { app.server.on('upgrade', (_request, socket) => { socket.destroy() }) }
  t.equal(await warnings(() => {}), 0)
  t.equal(await warnings(app => app.register(websocket)), 0)
  t.equal(await warnings(
    app => app.register(async child => { await child.register(websocket) })
  ), 0, 'in a child context')
  t.equal(await warnings(proxied), 0, 'as @fastify/http-proxy does')
  t.equal(await warnings(socketIo), 1)
  t.equal(await warnings(async app => { await app.register(websocket); socketIo(app) }), 1, 'beside @fastify/websocket')
  t.equal(await warnings(async app => { await app.ready(); socketIo(app) }), 1, 'added after ready()')
})

/** Keeps its listener on the server, as @fastify/http-proxy does. */
function proxied (app: FastifyInstance): void {
  const handOver = (_request: unknown, socket: Duplex) => { socket.destroy() }
  Reflect.set(app.server, Symbol('wsUpgradeListener'), handOver)
  app.server.on('upgrade', handOver)
}
