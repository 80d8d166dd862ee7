import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { request as httpRequest, type ClientRequest, type RequestOptions } from 'node:http'
import { connect as connectHttp2, type ClientHttp2Stream } from 'node:http2'
import { createRequire } from 'node:module'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { closeStreams, type StreamingSite } from '../lib/drain/close-streams.ts'
import type { FastifyMaintenanceOptions, MaintenanceStatus, MaintenanceStore, ServerStatus } from '../types/index.ts'
import { bareApp, createApp, until, type LogLine } from './fixtures/app.ts'
import { createTestStore } from './fixtures/store.ts'

// the client that @fastify/websocket brings along
interface WebSocketClient extends EventEmitter { readyState: number, close (): void, send (text: string): void }
const { WebSocket } = createRequire(createRequire(import.meta.url).resolve('@fastify/websocket'))('ws') as { WebSocket: new (url: string, options?: object) => WebSocketClient }

t.jobs = 4

interface Step<T = void> { readonly promise: Promise<T>, readonly resolve: (value: T) => void }

function step<T = void> (): Step<T> {
  let resolve!: (value: T) => void
  const promise = new Promise<T>(_resolve => { resolve = _resolve })
  return { promise, resolve }
}

async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

const counts = ({ inFlight, streams }: { inFlight: number, streams: number }) => ({ inFlight, streams })
const NOTHING = { inFlight: 0, streams: 0 }
const REQUEST = { inFlight: 1, streams: 0 }
const STREAM = { inFlight: 0, streams: 1 }

/** A client that takes whatever happens. */
function send (port: number, options: RequestOptions, body?: string): ClientRequest {
  const request = httpRequest({ port, host: '127.0.0.1', ...options }, response => response.on('error', () => {}).resume()).on('error', () => {})
  if (body !== undefined) request.end(body)
  return request
}

const get = (port: number, path = '/', headers = {}) => send(port, { path, headers }, '')

function raw (t: Test, port: number, bytes: string): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  socket.resume().write(bytes)
  t.teardown(() => socket.destroy())
  return socket
}

// --- every way in which a request can end ---

interface World {
  readonly t: Test
  readonly app: FastifyInstance
  readonly port: number
  /** Resolved by the handler when it has begun; not with the reply, which is thenable. */
  readonly entered: Step<FastifyReply['raw']>
  /** What the handler waits for. */
  readonly answer: Step
}

interface Way {
  readonly server?: object
  readonly before?: (app: FastifyInstance) => unknown
  readonly routes: (app: FastifyInstance, world: Omit<World, 'port'>) => unknown
  /** Begins the request. Returns how it ends. */
  readonly begin: (world: World) => (() => unknown) | Promise<() => unknown>
  /** What is counted while it runs. */
  readonly during: { inFlight: number, streams: number }
  /** What is counted once the client has gone; as before if it is not given. */
  readonly after?: { inFlight: number, streams: number }
  /** The client has gone by then, and it is still counted; then this ends it. */
  readonly then?: (world: World) => unknown
  /** Nothing tells its end. */
  readonly abandoned?: boolean
}

const handler = ({ entered, answer }: Omit<World, 'port'>, body: unknown = 'done') => async (_request: FastifyRequest, reply: FastifyReply) => {
  entered.resolve(reply.raw)
  await answer.promise
  return body
}

const answerIt = ({ answer }: World) => () => answer.resolve()
const answerLate = ({ answer }: World) => answer.resolve()
const slow = (app: FastifyInstance, world: Omit<World, 'port'>) => app.get('/', handler(world))

/** Begins a stream from within a handler; it goes on until somebody ends it. */
function endless (chunk = 'data: 1\n\n'): Readable {
  const stream = new Readable({ read () {} })
  stream.on('error', () => {}).push(chunk)
  return stream
}

async function withHttp2 ({ t, port }: World, headers: Record<string, string>): Promise<ClientHttp2Stream> {
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  t.teardown(() => client.destroy())
  return client.request({ ':path': '/', ...headers }).on('error', () => {}).resume()
}

const streaming = (type: string | null, how: 'send' | 'writeHead' | 'setHeader') => (app: FastifyInstance, { entered, t }: Omit<World, 'port'>) => app.get('/', (_request, reply) => {
  if (how === 'send') {
    const source = endless()
    t.teardown(() => source.destroy())
    if (type !== null) reply.type(type)
    reply.send(source)
  } else {
    reply.hijack()
    if (how === 'setHeader') reply.raw.setHeader('content-type', type ?? '')
    reply.raw.writeHead(200, how === 'writeHead' && type !== null ? { 'Content-Type': type } : {}).write('data: 1\n\n')
  }
  reply.raw.once('close', () => {})
  setImmediate(() => entered.resolve(reply.raw))
})

function upgrade ({ t, port }: World): () => void {
  const client = new WebSocket(`ws://127.0.0.1:${port}/`).on('error', () => {})
  t.teardown(() => client.close())
  return () => client.close()
}

const socketRoute = (app: FastifyInstance, { entered }: Omit<World, 'port'>) =>
  app.register(async app => { app.get('/', { websocket: true }, () => { entered.resolve(null as never) }) })

/** Three requests on one connection, which ends so. */
const pipelined = (end: (socket: Socket) => unknown) => ({ t, port }: World) => {
  const socket = raw(t, port, [1, 2, 3].map(n => `GET / HTTP/1.1\r\nHost: a\r\nN: ${n}\r\n\r\n`).join(''))
  return () => end(socket)
}

const WAYS: Record<string, Way> = {
  answered: { routes: slow, begin: world => { get(world.port); return answerIt(world) }, during: REQUEST },
  'answered, the connection goes on': { routes: slow, begin: world => { get(world.port, '/', { connection: 'keep-alive' }); return answerIt(world) }, during: REQUEST },
  HEAD: { routes: slow, begin: world => { send(world.port, { method: 'HEAD' }, ''); return answerIt(world) }, during: REQUEST },
  'an unknown URL': { routes: (app, world) => app.setNotFoundHandler(handler(world)), begin: world => { get(world.port, '/nowhere'); return answerIt(world) }, during: REQUEST },
  thrown: {
    routes: (app, { entered, answer }) => app.get('/', async (_request, reply) => {
      entered.resolve(reply.raw)
      await answer.promise
      throw new Error('expected')
    }),
    begin: world => { get(world.port); return answerIt(world) },
    during: REQUEST
  },
  'a callback that answers': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      entered.resolve(reply.raw)
      answer.promise.then(() => reply.send('done'))
    }),
    begin: world => { get(world.port); return answerIt(world) },
    during: REQUEST
  },
  'aborted, the handler answers later': { routes: slow, begin: ({ port }) => { const request = get(port); return () => request.destroy() }, during: REQUEST, then: answerLate },
  'aborted, a callback answers later': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      entered.resolve(reply.raw)
      answer.promise.then(() => reply.send('done'))
    }),
    begin: ({ port }) => { const request = get(port); return () => request.destroy() },
    during: REQUEST,
    then: answerLate
  },
  'aborted, the handler throws later': {
    routes: (app, { entered, answer }) => app.get('/', async (_request, reply) => {
      entered.resolve(reply.raw)
      await answer.promise
      throw new Error('expected')
    }),
    begin: ({ port }) => { const request = get(port); return () => request.destroy() },
    during: REQUEST,
    then: answerLate
  },
  'aborted, and never answered': { routes: (app, { entered }) => app.get('/', (_request, reply) => { entered.resolve(reply.raw) }), begin: ({ port }) => { const request = get(port); return () => request.destroy() }, during: REQUEST, then: () => {}, abandoned: true },
  'aborted before its body came': {
    routes: (app, world) => {
      app.addHook('onRequest', (_request, reply, done) => { world.entered.resolve(reply.raw); done() })
      app.post('/', handler(world))
    },
    begin: ({ t, port }) => { const socket = raw(t, port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n'); return () => socket.destroy() },
    during: REQUEST
  },
  'aborted in the middle of its body': {
    routes: (app, world) => {
      app.addHook('onRequest', (_request, reply, done) => { world.entered.resolve(reply.raw); done() })
      app.post('/', handler(world))
    },
    begin: ({ t, port }) => { const socket = raw(t, port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a":'); return () => socket.destroy() },
    during: REQUEST
  },
  'a stream, sent whole': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      const source = endless('x')
      reply.send(source)
      entered.resolve(reply.raw)
      answer.promise.then(() => source.push(null))
    }),
    begin: world => { get(world.port); return answerIt(world) },
    during: REQUEST
  },
  'aborted in the middle of a stream': { routes: streaming('text/csv', 'send'), begin: ({ port }) => { const request = get(port); return () => request.destroy() }, during: REQUEST },
  'a stream that fails': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      const source = endless('x')
      reply.send(source)
      entered.resolve(reply.raw)
      answer.promise.then(() => source.destroy(new Error('expected')))
    }),
    begin: world => { get(world.port); return answerIt(world) },
    during: REQUEST
  },
  'hijacked, and ended': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      reply.hijack()
      entered.resolve(reply.raw)
      answer.promise.then(() => reply.raw.end('done'))
    }),
    begin: world => { get(world.port); return answerIt(world) },
    during: REQUEST
  },
  'hijacked, begun, and aborted': { routes: streaming('text/csv', 'writeHead'), begin: ({ port }) => { const request = get(port); return () => request.destroy() }, during: REQUEST },
  'hijacked, aborted, and ended later': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      reply.hijack()
      entered.resolve(reply.raw)
      answer.promise.then(() => reply.raw.end('done'))
    }),
    begin: ({ port }) => { const request = get(port); return () => request.destroy() },
    during: REQUEST,
    then: answerLate
  },
  'an event stream by reply.send()': { routes: streaming('text/event-stream', 'send'), begin: ({ port }) => { const request = get(port, '/', { accept: 'text/event-stream' }); return () => request.destroy() }, during: STREAM },
  'an event stream by reply.send(), asked for without Accept': { routes: streaming('text/event-stream; charset=utf-8', 'send'), begin: ({ port }) => { const request = get(port); return () => request.destroy() }, during: STREAM },
  'an event stream by writeHead()': { routes: streaming('text/event-stream', 'writeHead'), begin: ({ port }) => { const request = get(port, '/', { accept: 'text/event-stream' }); return () => request.destroy() }, during: STREAM },
  'an event stream by setHeader() on the raw response': { routes: streaming('text/event-stream', 'setHeader'), begin: ({ port }) => { const request = get(port); return () => request.destroy() }, during: STREAM },
  'asks for an event stream, gets a download': { routes: streaming('text/csv', 'writeHead'), begin: ({ port }) => { const request = get(port, '/', { accept: 'text/event-stream' }); return () => request.destroy() }, during: REQUEST },
  'a WebSocket, registered before': { before: app => app.register(websocket), routes: socketRoute, begin: upgrade, during: STREAM },
  'a WebSocket, registered after': { routes: async (app, world) => { await app.register(websocket); await socketRoute(app, world) }, begin: upgrade, during: STREAM },
  'asks for an upgrade, and is answered by a plain handler': {
    routes: async (app, world) => {
      app.post('/', handler(world))
      await app.register(websocket)
    },
    begin: world => {
      raw(world.t, world.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
      return answerIt(world)
    },
    during: REQUEST
  },
  'asks for an upgrade where nobody upgrades': {
    routes: slow,
    begin: world => {
      raw(world.t, world.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      return answerIt(world)
    },
    during: REQUEST
  },
  'HTTP/2, answered': { server: { http2: true }, routes: slow, begin: async world => { await withHttp2(world, {}); return answerIt(world) }, during: REQUEST },
  'HTTP/2, an event stream, reset': { server: { http2: true }, routes: streaming('text/event-stream', 'send'), begin: async world => { const stream = await withHttp2(world, {}); return () => stream.close(8) }, during: STREAM },
  'HTTP/2, an event stream by writeHead()': { server: { http2: true }, routes: streaming('text/event-stream', 'writeHead'), begin: async world => { const stream = await withHttp2(world, {}); return () => stream.close(8) }, during: STREAM },
  'HTTP/2, hijacked, without a type': { server: { http2: true }, routes: streaming(null, 'writeHead'), begin: async world => { const stream = await withHttp2(world, {}); return () => stream.close(8) }, during: REQUEST },
  'HTTP/2, reset, the handler answers later': { server: { http2: true }, routes: slow, begin: async world => { const stream = await withHttp2(world, {}); return () => stream.close(8) }, during: REQUEST, then: answerLate, abandoned: true },
  'HTTP/2, the session is cut, the handler answers later': { server: { http2: true }, routes: slow, begin: async world => { const stream = await withHttp2(world, {}); return () => stream.session?.destroy() }, during: REQUEST, then: answerLate, abandoned: true },
  'HTTP/2, the session is cut in the middle of a download': { server: { http2: true }, routes: streaming('text/csv', 'send'), begin: async world => { const stream = await withHttp2(world, {}); return () => stream.session?.destroy() }, during: REQUEST },
  connectionTimeout: { server: { connectionTimeout: 300 }, routes: slow, begin: ({ port }) => { get(port); return () => {} }, during: REQUEST, then: answerLate },
  requestTimeout: {
    server: { requestTimeout: 100, http: { connectionsCheckingInterval: 50, headersTimeout: 100 } },
    routes: (app, world) => {
      app.addHook('onRequest', (_request, reply, done) => { world.entered.resolve(reply.raw); done() })
      app.post('/', handler(world))
    },
    begin: ({ t, port }) => { raw(t, port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{'); return () => {} },
    during: REQUEST
  },
  handlerTimeout: { server: { handlerTimeout: 300 }, routes: slow, begin: ({ port }) => { get(port); return () => {} }, during: REQUEST },
  'inject()': { routes: slow, begin: world => { world.app.inject('/'); return answerIt(world) }, during: REQUEST },
  'pipelined: all are counted, answered or not': {
    routes: slow,
    begin: world => {
      raw(world.t, world.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(3))
      return answerIt(world)
    },
    during: { inFlight: 3, streams: 0 }
  },
  'pipelined, and the client hangs up while the handlers work': { routes: slow, begin: pipelined(socket => socket.destroy()), during: { inFlight: 3, streams: 0 }, then: answerLate },
  'pipelined, and the connection is reset while the handlers work': { routes: slow, begin: pipelined(socket => socket.resetAndDestroy()), during: { inFlight: 3, streams: 0 }, then: answerLate },
  'pipelined, and half closed while the handlers work': { routes: slow, begin: pipelined(socket => socket.end()), during: { inFlight: 3, streams: 0 }, then: answerLate },
  'pipelined, and hijacked': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      reply.hijack()
      entered.resolve(reply.raw)
      answer.promise.then(() => reply.raw.end('done'))
    }),
    begin: pipelined(socket => socket.destroy()),
    during: { inFlight: 3, streams: 0 },
    then: answerLate
  },
  'pipelined, all answered but the first before the client hangs up': {
    routes: (app, { entered }) => app.get('/', (request, reply) => {
      if (request.headers.n !== '1') return reply.send('done')
      entered.resolve(reply.raw)
    }),
    begin: pipelined(socket => socket.destroy()),
    during: { inFlight: 3, streams: 0 },
    after: REQUEST,
    then: () => {},
    abandoned: true
  },
  'pipelined, and never answered': { routes: (app, { entered }) => app.get('/', (_request, reply) => { entered.resolve(reply.raw) }), begin: pipelined(socket => socket.destroy()), during: { inFlight: 3, streams: 0 }, abandoned: true },
  'pipelined behind another one, an event stream': {
    routes: (app, world) => {
      app.get('/', handler(world))
      app.get('/events', (_request, reply) => { reply.type('text/event-stream').send(endless()) })
    },
    begin: ({ t, port }) => {
      const socket = raw(t, port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /events HTTP/1.1\r\nHost: a\r\n\r\n')
      return () => socket.destroy()
    },
    during: { inFlight: 1, streams: 1 },
    after: REQUEST,
    then: answerLate
  }
}

t.test('counted while it runs, and no longer, for every way in which a request can end', { timeout: 60_000, buffered: true }, async t => {
  t.jobs = 8
  await Promise.all(Object.entries(WAYS).map(([name, way]) => t.test(name, { buffered: true }, async t => {
    const { app } = bareApp(t, { forceCloseConnections: !('http2' in (way.server ?? {})), ...way.server } as FastifyServerOptions)
    await way.before?.(app)
    await app.register(maintenance)
    const parts = { t, app, entered: step<FastifyReply['raw']>(), answer: step() }
    t.teardown(() => parts.answer.resolve())
    await way.routes(app, parts)
    const world = { ...parts, port: await listen(app) }
    const end = await way.begin(world)
    const response = await parts.entered.promise
    const counted = () => counts(app.maintenance.status())
    await until(`counted: ${JSON.stringify(way.during)}`, () => JSON.stringify(counted()) === JSON.stringify(way.during))
    await end()
    if (way.then !== undefined) {
      await until('the connection is closed', () => ('stream' in response ? response.stream as Socket : response).destroyed)
      for (const look of ['one', 'another']) t.strictSame(counted(), way.after ?? way.during, `its handler still works, ${look} look`)
      await way.then(world)
    }
    // what is taken for abandoned would be counted for 4 s
    await until('no longer counted', () => JSON.stringify(counted()) === JSON.stringify(NOTHING), way.abandoned === true ? 15_000 : 3500)
    await app.maintenance.drained({ timeout: 5000 })
  })))
})

t.test('what does not count', { buffered: true }, async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store, ignore: { routes: '/ignored', request: request => request.headers.staff === 'yes' }, bypass: {} })
  const running = new Set<string>()
  let release = step()
  for (const path of ['/plain', '/ignored', '/off']) {
    app.get(path, { config: path === '/off' ? { maintenance: 'off' } : {} }, async request => {
      running.add(request.url)
      await release.promise
    })
  }
  await app.ready()
  const begin = async (path: string, headers = {}) => {
    running.clear()
    const answer = app.inject({ url: path, headers })
    await until('running', () => running.has(path))
    return async (expected: { inFlight: number, streams: number }) => {
      t.strictSame(counts(app.maintenance.status()), expected, path)
      release.resolve()
      release = step()
      t.equal((await answer).statusCode, 200)
    }
  }
  await (await begin('/off'))(NOTHING)
  await (await begin('/plain'))(REQUEST)
  const { bypass } = await app.maintenance.set(true, { bypass: true })
  await (await begin('/off'))(NOTHING)
  await (await begin('/ignored'))(NOTHING)
  await (await begin('/plain', { 'maintenance-bypass': bypass?.secret }))(NOTHING)
  await (await begin('/plain', { staff: 'yes' }))(NOTHING)
  t.equal((await app.inject('/plain')).statusCode, 503)
  await app.maintenance.set(true, { mode: 'read-only' })
  await (await begin('/plain'))(REQUEST)
  t.equal((await app.inject({ method: 'POST', url: '/plain' })).statusCode, 503)
  t.strictSame(counts(app.maintenance.status()), NOTHING)
})

t.test('a site function: each request counts for its site, one for no known site for all of them', { buffered: true }, async t => {
  const { app } = await createApp(t, { site: request => request.headers.host as string, sites: ['shop', 'blog'] })
  const answer = step()
  app.get('/:x', async () => answer.promise)
  const counted = () => ['shop', 'blog'].map(site => app.maintenance.for(site).status().inFlight)
  for (const [host, expected] of [['shop', [1, 0]], ['blog', [1, 1]], ['nowhere', [2, 2]]] as const) {
    app.inject({ url: '/a', headers: { host } }).catch(() => {})
    await until(host, () => counted().join() === expected.join())
  }
  await app.maintenance.for('shop').set(true)
  await t.rejects(app.maintenance.for('shop').drained({ timeout: 30 }), { code: 'FST_ERR_MAINTENANCE_DRAIN', inFlight: 2, routes: { 'GET /:x': 2 } })
  t.match(await app.maintenance.for('shop').servers(), [{ site: 'shop', active: true, holding: { 'GET /:x': 2 } }])
  answer.resolve()
  await app.maintenance.for('shop').drained()
  t.strictSame(counted(), [0, 0])
})

// --- drained() ---

/** An application whose GET and POST /slow answer when the test says so. */
async function slowApp (t: Test, options: FastifyMaintenanceOptions = {}) {
  const { app, lines } = await createApp(t, options)
  let release: (() => void)[] = []
  app.route({ method: ['GET', 'POST'], url: '/slow', handler: () => new Promise<string>(resolve => { release.push(() => resolve('done')) }) })
  await app.ready()
  return {
    app,
    lines,
    async begin (method: 'GET' | 'POST' = 'GET'): Promise<() => void> {
      const before = release.length
      app.inject({ method, url: '/slow' }).catch(() => {})
      await until('running', () => release.length > before)
      return release[before] as () => void
    },
    releaseAll () {
      for (const answer of release) answer()
      release = []
    }
  }
}

/** Is it settled by now, whatever is under way? */
async function isPending (promise: Promise<unknown>): Promise<boolean> {
  let pending = true
  promise.then(() => { pending = false }, () => { pending = false })
  // two looks of a wait
  await sleep(60)
  return pending
}

const DRAIN = 'FST_ERR_MAINTENANCE_DRAIN'

t.test('drained(): at once when nothing runs, else when the last one has ended', { buffered: true }, async t => {
  const { app, begin } = await slowApp(t)
  await app.maintenance.drained()
  await app.maintenance.set(true)
  await app.maintenance.drained({ timeout: 1, signal: new AbortController().signal })
  await app.maintenance.set(false)
  const [first, second] = [await begin(), await begin('POST')]
  await app.maintenance.set(true)
  const waiting = app.maintenance.drained()
  first()
  t.equal(await isPending(waiting), true)
  second()
  await waiting
  t.equal(app.maintenance.status().inFlight, 0)
})

t.test('drained(): time, signal, wrong arguments', { buffered: true }, async t => {
  const { app, begin, releaseAll } = await slowApp(t)
  await Promise.all([begin(), begin(), begin('POST')])
  await app.maintenance.set(true)
  await t.rejects(app.maintenance.drained({ timeout: 30 }), { code: DRAIN, message: 'maintenance: after 30 ms, requests are still running: 2 × GET /slow, 1 × POST /slow', inFlight: 3, routes: { 'GET /slow': 2, 'POST /slow': 1 } })
  const abort = new AbortController()
  const waiting = app.maintenance.drained({ signal: abort.signal })
  t.equal(await isPending(waiting), true)
  abort.abort(new Error('enough'))
  await t.rejects(waiting, { message: 'enough' })
  await t.rejects(app.maintenance.drained({ signal: AbortSignal.abort() }), { name: 'AbortError' })
  for (const [options, message] of [
    [{ timeout: 0 }, /timeout is 0, expected an integer from 1 to 3600000 \(milliseconds\)/],
    [{ timeout: '5s' }, /timeout is '5s'/],
    [{ timeout: 3_600_001 }, /timeout is 3600001/],
    [{ timout: 5 }, /timout is 5, expected one of the names timeout, signal/],
    [{ signal: {} }, /signal is \{\}, expected an AbortSignal/],
    [null, /the options is null, expected an object/]
  ] as [never, RegExp][]) await t.rejects(app.maintenance.drained(options), { code: 'FST_ERR_MAINTENANCE_CHANGE', message })
  releaseAll()
  await app.maintenance.drained({ timeout: 3_600_000 })

  const other = bareApp(t).app
  await other.register(maintenance)
  const answer = step()
  other.setNotFoundHandler(async () => answer.promise)
  other.inject('/nowhere').catch(() => {})
  await until('it runs', () => other.maintenance.status().inFlight === 1)
  t.match(await other.maintenance.drained({ timeout: 1 }).catch(error => error), { code: DRAIN, routes: { 'GET (no route)': 1 } })
  answer.resolve()
})

t.test('drained(): the site is opened meanwhile', { buffered: true }, async t => {
  const { app, begin, releaseAll } = await slowApp(t)
  await begin()
  const early = app.maintenance.drained()
  t.equal(await isPending(early), true, 'it waits for a site that was not closed yet')
  await app.maintenance.set(true)
  const late = app.maintenance.drained()
  t.equal(await isPending(early), true)
  await app.maintenance.set(false)
  await Promise.all([early, late].map(waiting => t.rejects(waiting, { code: DRAIN, message: /the site was opened while its requests were waited for/, inFlight: 1, routes: { 'GET /slow': 1 } })))
  releaseAll()
})

t.test('drained(): on an open site, all that run when it is closed are waited for', { buffered: true }, async t => {
  const { app, begin } = await slowApp(t)
  const first = await begin()
  const waiting = app.maintenance.drained()
  const second = await begin()
  await app.maintenance.set(true)
  first()
  t.equal(await isPending(waiting), true)
  second()
  await waiting
})

t.test('drained(): read-only, reads that came before the call are waited for, later ones are not', { buffered: true }, async t => {
  const { app, begin, releaseAll } = await slowApp(t)
  const write = await begin('POST')
  await app.maintenance.set(true, { mode: 'read-only' })
  const read = await begin()
  t.equal(app.maintenance.status().inFlight, 2)
  t.match((await app.maintenance.servers())[0], { inFlight: 2, holding: { 'POST /slow': 1 } }, 'a read that the present state let in holds up nobody who waits for the servers')
  const waiting = app.maintenance.drained()
  await begin()
  write()
  t.equal(await isPending(waiting), true, 'for the first read')
  read()
  await waiting
  t.equal(app.maintenance.status().inFlight, 1)
  await app.maintenance.set(true)
  await t.rejects(app.maintenance.drained({ timeout: 30 }), { code: DRAIN, inFlight: 1 }, 'closed fully, what was let in before is older')
  releaseAll()
})

// --- closeStreams ---

interface StreamClient { readonly ended: Promise<string>, readonly isOpen: () => boolean }

/** A listening application with event streams and WebSockets, and clients for them. */
async function streamApp (t: Test, options: FastifyMaintenanceOptions = {}) {
  const { app, lines } = bareApp(t)
  await app.register(websocket)
  await app.register(maintenance, { ignore: { request: request => request.headers.staff === 'yes' }, bypass: {}, ...options })
  const writers: NodeJS.Timeout[] = []
  t.teardown(() => writers.forEach(clearInterval))
  const handler = (_request: FastifyRequest, reply: FastifyReply) => {
    const source = endless()
    // it goes on writing, whatever becomes of its reader
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
    const ended = new Promise<unknown>(resolve => connection.once(event, resolve)).then(code => { open = false; return words(code) })
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

  async function refused (): Promise<number> {
    const client = new WebSocket(`ws://127.0.0.1:${port}/events`).on('error', () => {})
    const [, response] = await once(client, 'unexpected-response')
    response.resume()
    return response.statusCode
  }

  return { app, lines, port, events, socket, refused }
}

t.test('closeStreams: WebSockets get 1012, event streams end, whoever comes back gets the 503', { buffered: true }, async t => {
  const { app, events, socket, refused } = await streamApp(t, { closeStreams: { after: 50, jitter: 50 } })
  const before = [await events(), await events('/raw'), await socket(), await socket()]
  t.strictSame(counts(app.maintenance.status()), { inFlight: 0, streams: 4 })
  await app.maintenance.set(true)
  await app.maintenance.drained()
  t.strictSame(await Promise.all(before.map(client => client.ended)), ['ended', 'ended', '1012', '1012'])
  t.equal(await refused(), 503)
  await until('no stream is left', () => app.maintenance.status().streams === 0, 3500)
  // what the application goes on writing must not end the process
  await sleep(30)
})

t.test('closeStreams: who may enter a closed site keeps the stream', { buffered: true }, async t => {
  const { app, events, socket } = await streamApp(t, { closeStreams: { after: 0, jitter: 0 }, ignore: { ips: '127.0.0.1' } })
  const kept = [await events(), await socket()]
  await app.maintenance.set(true)
  t.equal(await isPending(Promise.race(kept.map(client => client.ended))), true)
  t.strictSame(kept.map(client => client.isOpen()), [true, true])
})

t.test('closeStreams: bypassed clients and routes that are off keep theirs', { buffered: true }, async t => {
  const { app, events, socket } = await streamApp(t, { closeStreams: { after: 0, jitter: 0 } })
  const { bypass } = await app.maintenance.set(true, { bypass: true })
  const secret = { 'maintenance-bypass': bypass?.secret }
  await app.maintenance.set(true, { mode: 'read-only' })
  // let in as `read`, or because they may; full maintenance is to come
  const kept = [await events('/events', secret), await socket('/events', secret), await events('/ignored'), await socket('/ignored')]
  const reader = await events()
  t.equal(await isPending(reader.ended), true, 'read-only keeps reads')
  await app.maintenance.set(true)
  t.equal(await reader.ended, 'ended')
  t.strictSame(kept.map(client => client.isOpen()), [true, true, true, true])
})

t.test('closeStreams: what read-only refuses is ended, whatever it is; what explain() lets in stays', { buffered: true }, async t => {
  const { app } = bareApp(t)
  await app.register(websocket)
  await app.register(maintenance, { closeStreams: { after: 0, jitter: 0 } })
  const explained: Record<string, boolean> = {}
  for (const declared of ['none', 'read', 'write'] as const) {
    const config = declared === 'none' ? {} : { maintenance: declared }
    app.route({ method: 'GET', url: `/${declared}`, config, handler: (_request, reply) => { reply.type('text/event-stream').send(endless()) }, wsHandler () {} })
  }
  const requests: Record<string, FastifyRequest> = {}
  app.addHook('preHandler', async request => { requests[`${request.ws ? 'socket' : 'events'} ${request.url}`] = request })
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
  t.match(explained, { 'events /none': false, 'events /read': false, 'events /write': true, 'socket /read': false, 'socket /write': true })
  const refused = Object.keys(explained).filter(name => explained[name]).sort()
  await until('the refused are ended', () => [...ended].sort().join() === refused.join())
  await sleep(100)
  t.strictSame([...ended].sort(), refused, 'and no others')
  await app.maintenance.set(true)
  await until('the others are ended', () => ended.size === 6)
})

t.test('closeStreams: nothing is ended where the site opens before its time, and each stream once', { buffered: true }, async t => {
  const { app, events, socket } = await streamApp(t, { closeStreams: { after: 1500, jitter: 0 } })
  const clients = [await events(), await socket()]
  await app.maintenance.set(true)
  await app.maintenance.set(true, { message: 'still' })
  await app.maintenance.set(false)
  await sleep(1700)
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

t.test('closeStreams: whoever does not take the end is cut off; an upgrade that is no WebSocket is just ended', { timeout: 20_000, buffered: true }, async t => {
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
  const sockets = ['x', 'WebSocket'].map(protocol => raw(t, port, `GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`))
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
  t.strictSame(said.map(last => last() === '880203f4'), [false, true], 'a close frame is for WebSockets')
  await until('the mute one is cut off', () => app.maintenance.status().streams === 0)
})

t.test('closeStreams: options', { buffered: true }, async t => {
  for (const [options, message] of [[{ after: -1 }, /closeStreams.after' is -1, expected an integer from 0/], [{ jitter: '1s' }, /closeStreams.jitter' is '1s'/], [{ now: true }, /closeStreams.now/], [true, /closeStreams' is true, expected an object/]] as [never, RegExp][]) {
    const { app } = bareApp(t)
    await t.rejects(async () => { await app.register(maintenance, { closeStreams: options }) }, { code: 'FST_ERR_MAINTENANCE_OPTION', message })
  }
})

// --- set(on, { wait }) ---

t.test('set with wait: settles when all are ready, else tells who is not; the change stands', { buffered: true }, async t => {
  const { app, begin, releaseAll } = await slowApp(t)
  const first = await begin()
  const waiting = app.maintenance.set(true, { wait: 60_000, message: 'Moving' })
  t.equal(await isPending(waiting), true)
  t.equal(app.maintenance.active, true)
  first()
  t.match(await waiting, { active: true, message: 'Moving', inFlight: 0 } satisfies Partial<MaintenanceStatus>)
  t.match(await app.maintenance.set(false, { wait: 1 }), { active: false })

  await begin()
  await begin('POST')
  const error = await app.maintenance.set(true, { wait: 1 }).catch(error => error)
  t.match(error, {
    code: DRAIN,
    message: /^maintenance: not ready after 1 ms, but the change stands: \S+ \(process \d+\) runs 1 × GET \/slow, 1 × POST \/slow, last seen at \S+Z$/,
    inFlight: 2,
    routes: { 'GET /slow': 1, 'POST /slow': 1 },
    servers: [{ site: 'default', active: true, pid: process.pid, holding: { 'GET /slow': 1, 'POST /slow': 1 } }]
  })
  t.equal(app.maintenance.active, true)
  releaseAll()
})

t.test('run with wait: the work begins when nothing from before is running; where it is not in time, it is not begun, and the site opens again', { buffered: true }, async t => {
  const { app } = await createApp(t)
  const slow = step()
  app.get('/slow', async () => slow.promise.then(() => 'x'))
  const port = await listen(app)
  const client = get(port, '/slow')
  await until('it runs', () => app.maintenance.status().inFlight === 1)
  let begun = 0
  await t.rejects(app.maintenance.run(() => { begun++ }, { wait: 50 }), { code: 'FST_ERR_MAINTENANCE_DRAIN', inFlight: 1, routes: { 'GET /slow': 1 } })
  t.strictSame([begun, app.maintenance.active], [0, false])
  const running = app.maintenance.run(() => app.maintenance.status(), { wait: 60_000, message: 'Moving' })
  await until('closed', () => app.maintenance.active)
  slow.resolve()
  t.match(await running, { active: true, message: 'Moving', inFlight: 0 })
  t.equal(app.maintenance.active, false)
  await t.rejects(app.maintenance.run(() => { begun++ }, { wait: -1 }), { code: 'FST_ERR_MAINTENANCE_CHANGE' })
  await t.rejects(app.maintenance.run('work' as never, { wait: 50 }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: /a function/ })
  t.strictSame([begun, app.maintenance.active], [0, false])
  client.destroy()
})

t.test('set with wait: nothing is changed by a wrong argument; what is no object is refused as ever', { buffered: true }, async t => {
  const { app } = await createApp(t, { bypass: {} })
  for (const [change, message] of [[{ wait: 0 }, /wait is 0, expected an integer from 1 to 3600000/], [{ wait: '30s' }, /wait is '30s'/], [{ wait: true }, /wait is true/], [null, /the change is null, expected an object/], ['x', /the change is 'x'/]] as [never, RegExp][]) {
    await t.rejects(app.maintenance.set(true, change), { code: 'FST_ERR_MAINTENANCE_CHANGE', message })
  }
  t.equal(app.maintenance.active, false)
  t.match((await app.maintenance.set(true, { bypass: true, wait: 1000 })).bypass, { secret: /^\S{20,}$/ }, 'shown all the same')
})

t.test('set with wait: a server that has not followed, one that is pinned, one that comes back', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, { store })
  await app.ready()
  const other = (change: Partial<ServerStatus>): ServerStatus => ({ id: 'other', host: 'there', pid: 7, version: '1', site: 'default', revision: 0, active: false, pinned: false, inFlight: 0, streams: 0, holding: {}, startedAt: '2026-01-01T00:00:00.000Z', seenAt: '2026-01-01T00:00:00.000Z', ...change })
  const tell = (change: Partial<ServerStatus>) => store.entries.set('default/other', JSON.stringify(other(change)))
  tell({})
  await t.rejects(app.maintenance.set(true, { wait: 50 }), { message: /there \(process 7\) is open, last seen at 2026-01-01/, servers: [{ id: 'other' }] })
  tell({ active: true })
  await t.rejects(app.maintenance.set(true, { wait: 50 }), { message: /there \(process 7\) has not seen the change/, routes: {} })
  await t.rejects(app.maintenance.set(false, { wait: 50 }), { message: /there \(process 7\) has not seen the change/ }, 'also for off')
  tell({ pinned: true })
  await app.maintenance.set(true, { wait: 50 })
  tell({ revision: Number.MAX_SAFE_INTEGER })
  await t.rejects(app.maintenance.set(true, { wait: 50 }), { message: /there \(process 7\) is open/ }, 'it has the state, but its window is ahead or over')
  tell({ revision: Number.MAX_SAFE_INTEGER, active: true, inFlight: 3, holding: { 'GET /a': 2 } })
  await t.rejects(app.maintenance.set(true, { wait: 50 }), { message: /there \(process 7\) runs 2 × GET \/a/, inFlight: 2, routes: { 'GET /a': 2 } })
  await app.maintenance.set(false, { wait: 50 })
  store.entries.delete('default/other')
  await app.maintenance.set(true, { wait: 50 })

  store.fail = 'list'
  await t.rejects(app.maintenance.set(true, { wait: 50 }), { code: DRAIN, message: /the list of servers could not be read/, inFlight: 0 })
  const waiting = app.maintenance.set(true, { wait: 60_000 })
  t.equal(await isPending(waiting), true)
  store.fail = ''
  await waiting

  // ready for a moment only: forgotten by the store, it tells of itself again
  const again = app.maintenance.set(true, { wait: 60_000 })
  await sleep(100)
  tell({})
  t.equal(await isPending(Promise.race([again, sleep(500)])), true)
  tell({ revision: Number.MAX_SAFE_INTEGER, active: true })
  await again
})

t.test('set with wait: a list that hangs does not make it wait for ever', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, { store })
  await app.ready()
  store.hang = 'list'
  await t.rejects(app.maintenance.set(true, { wait: 1 }), { code: DRAIN, message: /could not be read/ })
})

// --- servers() ---

/** A store that keeps servers, and can be told to fail or to hang. */
function beatingStore () {
  const store = {
    ...createTestStore(),
    entries: new Map<string, string>(),
    beating: 0,
    fail: '' as '' | 'beat' | 'list',
    hang: '' as '' | 'beat' | 'list',
    async beat (site: string, id: string, entry: string, ttl: number): Promise<void> {
      store.beating++
      if (store.hang === 'beat') await new Promise(() => {})
      if (store.fail === 'beat') throw new Error('no room')
      if (ttl === 0) store.entries.delete(`${site}/${id}`)
      else store.entries.set(`${site}/${id}`, entry)
    },
    async beats (site: string): Promise<string[]> {
      if (store.hang === 'list') await new Promise(() => {})
      if (store.fail === 'list') throw new Error('gone fishing')
      return [...store.entries].filter(([key]) => key.startsWith(`${site}/`)).map(([, entry]) => entry)
    }
  } satisfies MaintenanceStore & Record<string, unknown>
  return store
}

t.test('servers(): this one, where the store keeps none', { buffered: true }, async t => {
  const { app } = await createApp(t)
  const [server, ...others] = await app.maintenance.servers()
  t.strictSame(others, [])
  t.match(server, { site: 'default', pid: process.pid, revision: 0, active: false, pinned: false, inFlight: 0, streams: 0, holding: {}, version: /^\d/, host: /./, id: /^[0-9a-f-]{36}$/, startedAt: /Z$/, seenAt: /Z$/ })
  await app.maintenance.set(true)
  t.match(await app.maintenance.servers(), [{ active: true, id: server?.id }])
  const pinned = await createApp(t, { enabled: true })
  t.match(await pinned.app.maintenance.servers(), [{ active: true, pinned: true }])
})

t.test('servers(): what others tell, oldest first; garbage is none, what a later version adds is left out', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, { store })
  await app.ready()
  t.equal(store.entries.size, 1)
  const [own] = await app.maintenance.servers()
  const write = (id: string, entry: unknown) => store.entries.set(`default/${id}`, typeof entry === 'string' ? entry : JSON.stringify(entry))
  write('old', { ...own, id: 'old', startedAt: '2001-01-01T00:00:00.000Z', later: 'more' })
  write('new', { ...own, id: 'new', startedAt: '2999-01-01T00:00:00.000Z', holding: { 'GET /': 1 } })
  const garbage: unknown[] = ['', 'no JSON', 'null', '7', '[]', '{}', { ...own, id: 'x', site: 'another' }, { ...own, id: 7 }, { ...own, holding: { a: -1 } }, { ...own, holding: null }, { ...own, seenAt: 'soon' }, { ...own, active: 1 }, { ...own, revision: undefined }]
  garbage.forEach((entry, i) => write(`garbage${i}`, entry))
  const servers = await app.maintenance.servers()
  t.strictSame(servers.map(({ id }) => id), ['old', own?.id, 'new'])
  t.strictSame(Object.keys(servers[0] ?? {}), Object.keys(servers[2] ?? {}))
  store.fail = 'list'
  await t.rejects(app.maintenance.servers(), { code: 'FST_ERR_MAINTENANCE_STORE', message: /gone fishing/, cause: { message: 'gone fishing' } })
})

t.test('servers(): what a server tells follows it, and goes when it is closed', { buffered: true }, async t => {
  const store = beatingStore()
  const { app, begin } = await slowApp(t, { store })
  const told = () => JSON.parse([...store.entries.values()][0] ?? 'null') as ServerStatus
  t.match(told(), { active: false, revision: 0, inFlight: 0 })
  const [one, two] = [await begin(), await begin()]
  const { revision } = await app.maintenance.set(true)
  // the word of every four seconds cannot be what is seen in each of these steps
  const soon = (what: string, condition: () => boolean) => until(what, condition, 1500)
  await soon('told at once', () => told().active && told().revision === revision && told().inFlight === 2)
  t.strictSame(told().holding, { 'GET /slow': 2 })
  one()
  await soon('told while it goes down', () => told().inFlight === 1)
  two()
  await soon('told that nothing runs', () => told().inFlight === 0 && Object.keys(told().holding).length === 0)
  for (const on of [false, true, false, true]) {
    await app.maintenance.set(on)
    await soon(`told that it is ${on ? 'closed' : 'open'}`, () => told().active === on)
  }
  await app.close()
  t.equal(store.entries.size, 0)
})

t.test('servers(): a store that takes no word is told of once for each change, and asked again', { buffered: true }, async t => {
  const store = beatingStore()
  store.fail = 'beat'
  const { app, lines } = await createApp(t, { store })
  await app.ready()
  const complaints = () => lines.filter((line: LogLine) => line.level === 40 && /other servers of site 'default' cannot see this one, and do not wait for it: /.test(line.msg)).length
  t.equal(complaints(), 1)
  for (const on of [true, false]) await app.maintenance.set(on)
  await until('tried again', () => store.beating >= 3)
  t.equal(complaints(), 1)
  store.fail = ''
  await app.maintenance.set(true)
  await until('well again', () => store.entries.size === 1)
  store.fail = 'beat'
  await app.maintenance.set(false)
  await until('told anew', () => complaints() === 2)
})

t.test('servers(): a word that hangs harms neither boot nor close, is told, and another is tried', { timeout: 30_000, buffered: true }, async t => {
  const store = beatingStore()
  store.hang = 'beat'
  const { app, lines } = await createApp(t, { store })
  const began = performance.now()
  await app.ready()
  t.ok(performance.now() - began < 5000, 'ready within 5 s')
  await until('told', () => lines.some(line => /cannot see this one.*no answer within 3000 ms/.test(line.msg)))
  store.hang = ''
  await app.maintenance.set(true)
  await until('heard of again', () => store.entries.size === 1)
  store.hang = 'beat'
  await app.maintenance.set(false)
  const closing = performance.now()
  await app.close()
  t.ok(performance.now() - closing < 1500, 'closed within a second, on a busy machine')
})

t.test('servers(): what changes while a word is on its way goes out as one', { buffered: true }, async t => {
  const store = beatingStore()
  const revisions: number[] = []
  const go = step()
  const { app } = await createApp(t, { store: { ...store, beat: async (_site, _id, entry) => { revisions.push(JSON.parse(entry || '{}').revision); await go.promise } } })
  await app.ready()
  for (let i = 0; i < 10; i++) await app.maintenance.set(i % 2 === 0)
  go.resolve()
  await until('told', () => revisions.at(-1) === app.maintenance.status().revision)
  t.ok(revisions.length < 6, `${revisions.length} words of 10 changes`)
})

t.test('servers(): after its good-bye a server says nothing more', { buffered: true }, async t => {
  const store = beatingStore()
  const words: number[] = []
  const go = step()
  const { app } = await createApp(t, { store: { ...store, beat: async (_site, _id, _entry, ttl) => { words.push(ttl); await go.promise } } })
  // booting does not wait for the first word; what follows waits behind it
  await app.ready()
  for (const on of [true, false]) await app.maintenance.set(on)
  await app.close()
  go.resolve()
  await until('good-bye', () => words.length === 2)
  t.strictSame(words, [15_000, 0])
})

t.test('servers(): one that boots while the site is closed sees it, or is seen', { buffered: true }, async t => {
  const store = beatingStore()
  const { app } = await createApp(t, { store })
  // closed by somebody else between the first read and the first word, and the hint is lost
  const other = await createApp(t, { store: { ...store, watch () {} } })
  await other.app.maintenance.set(true)
  t.equal(app.maintenance.active, false)
  await app.ready()
  t.equal(app.maintenance.active, true)
})

// --- alone from here on: the clock and the memory belong to the whole process ---

t.test('closeStreams: spread over the jitter', t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  let ended = 0
  const streams = Array.from({ length: 200 }, () => {
    const raw = Object.assign(new EventEmitter(), { end () { ended++ }, destroy () { raw.emit('close') } })
    return { raw, request: { raw: {} }, sent: true } as unknown as FastifyReply
  })
  let change = () => {}
  const site: StreamingSite = { gate: { active: true }, streams: () => streams, onGate (listener) { change = listener } }
  closeStreams([site, { ...site, onGate () {} }], { after: 5000, jitter: 2000 }, () => ({ blocked: true }) as never)
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

  // who may stay at first is given its time from when that ends
  ended = 0
  let blocked = false
  closeStreams([site], { after: 5000, jitter: 0 }, () => ({ blocked }) as never)
  change()
  mock.timers.tick(3000)
  blocked = true
  change()
  mock.timers.tick(4000)
  t.equal(ended, 0)
  streams[0]?.raw.emit('close')
  mock.timers.tick(1000)
  t.equal(ended, 199, 'one has ended by itself')
  t.end()
})

// --- nothing grows ---

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

async function heap (): Promise<number> {
  for (let i = 0; i < 5; i++) {
    gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}

t.test('1,000 rounds of on and off under load: no handle, listener, memory or reference is left', { timeout: 110_000 }, async t => {
  const store = beatingStore()
  const { app } = bareApp(t, { logger: false } as FastifyServerOptions)
  // the bundled pages, all compressed anew in each round, would take most of the time
  const template = join(t.testdir({ 'page.eta': '<%= it.message %>' }), 'page.eta')
  await app.register(maintenance, { store, response: { template }, closeStreams: { after: 60_000, jitter: 0 } })
  let answered = 0
  app.get('/', async () => { await sleep(5); answered++; return 'done' })
  app.get('/events', (_request, reply) => { reply.type('text/event-stream').send(endless()) })
  const port = await listen(app)
  const stream = get(port, '/events')
  await until('a stream', () => app.maintenance.status().streams === 1)

  const rounds = async (count: number) => {
    const load = { goesOn: true }
    const clients = Promise.all(Array.from({ length: 4 }, async () => {
      while (load.goesOn) {
        await fetch(`http://127.0.0.1:${port}/`).then(response => response.text())
        await sleep(5)
      }
    }))
    for (let i = 0; i < count; i++) {
      await app.maintenance.set(true)
      if (i % 20 === 0) await app.maintenance.drained({ timeout: 10_000, signal })
      await app.maintenance.set(false)
      await new Promise(resolve => setImmediate(resolve))
    }
    load.goesOn = false
    await clients
  }
  const { signal } = new AbortController()
  const look = async () => ({
    heap: await heap(),
    timers: process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length,
    others: process.getActiveResourcesInfo().filter(kind => !/Timeout|TCP|TickObject|Immediate/.test(kind)).length,
    listeners: [app.server, process, signal].reduce((sum, emitter) => sum + (emitter instanceof EventEmitter ? emitter.eventNames().reduce((count, name) => count + emitter.listenerCount(name), 0) : 0), 0)
  })
  await rounds(50)
  const before = await look()
  await rounds(1000)
  const after = await look()
  t.ok(answered > 100, `${answered} requests were answered between`)
  t.ok(after.heap - before.heap < 3_000_000, `${after.heap - before.heap} bytes more`)
  t.ok(after.timers <= before.timers + 2, `${before.timers} timers before, ${after.timers} after`)
  t.equal(after.others, before.others)
  t.equal(after.listeners, before.listeners)
  t.strictSame(counts(app.maintenance.status()), STREAM)
  stream.destroy()
})

t.test('what has ended is let go: few references are kept', async t => {
  const { app } = await createApp(t, {}, { logger: false } as FastifyServerOptions)
  const kept: WeakRef<object>[] = []
  app.get('/', async (_request, reply) => {
    kept.push(new WeakRef(reply))
    return 'done'
  })
  for (let i = 0; i < 500; i++) await app.inject('/')
  await heap()
  const left = kept.filter(reference => reference.deref() !== undefined).length
  t.ok(left <= 70, `${left} of 500`)
  app.maintenance.status()
  await heap()
  const swept = kept.filter(reference => reference.deref() !== undefined).length
  t.ok(swept <= 5, `${swept} of 500 after a sweep`)
})

t.test('pipelined requests whose client has hung up are let go without being asked for', { timeout: 110_000 }, async t => {
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', 'test/fixtures/pipelined-memory.ts'], { env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const results = (await child.stdout.toArray()).join('').trim().split('\n').map(line => JSON.parse(line))
  t.strictSame(results.map(({ mode }) => mode), ['open', 'hold', 'full'])
  for (const { mode, arrived, before, during, after, held, inFlight } of results) {
    t.ok(arrived > 1000, `${arrived} requests have come`)
    t.ok(mode === 'full' || during - before > 20, `${mode}: ${during - before} MB while they wait`)
    t.ok(after - before <= 5, `${mode}: ${after - before} MB more after the clients have hung up`)
    t.strictSame({ held, inFlight }, { held: 0, inFlight: 0 }, mode)
  }
})

t.test('after a burst, what has ended is let go soon, without another request', async t => {
  const { app } = await createApp(t, {}, { logger: false } as FastifyServerOptions)
  const kept: WeakRef<object>[] = []
  const answer = step()
  app.get('/', async (_request, reply) => {
    kept.push(new WeakRef(reply))
    await answer.promise
    return 'done'
  })
  const answers = Array.from({ length: 200 }, () => app.inject('/').then(() => {}))
  await until('all run', () => app.maintenance.status().inFlight === 200)
  answer.resolve()
  await Promise.all(answers)
  await until('let go', async () => {
    await heap()
    return kept.filter(reference => reference.deref() !== undefined).length <= 10
  })
})
