import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import { spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { connect as connectHttp2, type ClientHttp2Stream } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { bareApp, createApp, until } from './fixtures/app.ts'
import { createTestStore } from './fixtures/store.ts'
import {
  beatingStore, counts, endless, get, listen, raw, send, step, type Step, WebSocket
} from './fixtures/requests.ts'

t.jobs = 4

const NOTHING = { inFlight: 0, streams: 0 }
const REQUEST = { inFlight: 1, streams: 0 }
const STREAM = { inFlight: 0, streams: 1 }

interface Setup {
  readonly t: Test
  readonly app: FastifyInstance
  readonly port: number
  /** The handler resolves it at its start, not with the reply, which is thenable. */
  readonly entered: Step<FastifyReply['raw']>
  /** The handler waits for this. */
  readonly answer: Step
}

interface Way {
  readonly server?: object
  readonly before?: (app: FastifyInstance) => unknown
  readonly routes: (app: FastifyInstance, setup: Omit<Setup, 'port'>) => unknown
  /** Starts the request. Returns a function that ends it. */
  readonly begin: (setup: Setup) => (() => unknown) | Promise<() => unknown>
  /** The counts while it runs. */
  readonly during: { inFlight: number, streams: number }
  /** The counts after the client has gone. Default: the same. */
  readonly after?: { inFlight: number, streams: number }
  /** Ends a request that still counts after its client has gone. */
  readonly then?: (setup: Setup) => unknown
  /** It never ends: it counts for a minute after its client has gone. */
  readonly abandoned?: boolean
}

const handler = ({ entered, answer }: Omit<Setup, 'port'>, body: unknown = 'done') =>
  async (_request: FastifyRequest, reply: FastifyReply) => {
    entered.resolve(reply.raw)
    await answer.promise
    return body
  }

const answerIt = ({ answer }: Setup) => () => answer.resolve()
const answerLate = ({ answer }: Setup) => answer.resolve()
const slow = (app: FastifyInstance, setup: Omit<Setup, 'port'>) => app.get('/', handler(setup))

async function withHttp2 ({ t, port }: Setup, headers: Record<string, string>): Promise<ClientHttp2Stream> {
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  t.teardown(() => client.destroy())
  return client.request({ ':path': '/', ...headers }).on('error', () => {}).resume()
}

const streaming = (
  type: string | null, how: 'send' | 'writeHead' | 'setHeader'
) => (app: FastifyInstance, { entered, t }: Omit<Setup, 'port'>) => app.get('/', (_request, reply) => {
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

function upgrade ({ t, port }: Setup): () => void {
  const client = new WebSocket(`ws://127.0.0.1:${port}/`).on('error', () => {})
  t.teardown(() => client.close())
  return () => client.close()
}

const socketRoute = (app: FastifyInstance, { entered }: Omit<Setup, 'port'>) =>
  app.register(async app => { app.get('/', { websocket: true }, () => { entered.resolve(null as never) }) })

/** Three requests on one connection, which `end` ends. */
const pipelined = (end: (socket: Socket) => unknown) => ({ t, port }: Setup) => {
  const socket = raw(t, port, [1, 2, 3].map(n => `GET / HTTP/1.1\r\nHost: a\r\nN: ${n}\r\n\r\n`).join(''))
  return () => end(socket)
}

const WAYS: Record<string, Way> = {
  answered: { routes: slow, begin: setup => { get(setup.port); return answerIt(setup) }, during: REQUEST },
  'answered, with keep-alive': {
    routes: slow,
    begin: setup => {
      get(setup.port, '/', { connection: 'keep-alive' }); return answerIt(setup)
    },
    during: REQUEST
  },
  HEAD: {
    routes: slow,
    begin: setup => {
      send(setup.port, { method: 'HEAD' }, ''); return answerIt(setup)
    },
    during: REQUEST
  },
  'an unknown URL': {
    routes: (app, setup) => app.setNotFoundHandler(handler(setup)),
    begin: setup => {
      get(setup.port, '/nowhere'); return answerIt(setup)
    },
    during: REQUEST
  },
  thrown: {
    routes: (app, { entered, answer }) => app.get('/', async (_request, reply) => {
      entered.resolve(reply.raw)
      await answer.promise
      throw new Error('expected')
    }),
    begin: setup => { get(setup.port); return answerIt(setup) },
    during: REQUEST
  },
  'a callback that answers': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      entered.resolve(reply.raw)
      answer.promise.then(() => reply.send('done'))
    }),
    begin: setup => { get(setup.port); return answerIt(setup) },
    during: REQUEST
  },
  'aborted, the handler answers later': {
    routes: slow,
    begin: ({ port }) => {
      const request = get(port); return () => request.destroy()
    },
    during: REQUEST,
    then: answerLate
  },
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
  'aborted, and never answered': {
    routes: (app, { entered }) => app.get('/', (_request, reply) => { entered.resolve(reply.raw) }),
    begin: ({ port }) => { const request = get(port); return () => request.destroy() },
    during: REQUEST,
    abandoned: true
  },
  'aborted before its body arrives': {
    routes: (app, setup) => {
      app.addHook('onRequest', (_request, reply, done) => { setup.entered.resolve(reply.raw); done() })
      app.post('/', handler(setup))
    },
    begin: ({ t, port }) => {
      const socket = raw(
        t,
        port,
        'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n'
      )
      return () => socket.destroy()
    },
    during: REQUEST
  },
  'aborted in the middle of its body': {
    routes: (app, setup) => {
      app.addHook('onRequest', (_request, reply, done) => { setup.entered.resolve(reply.raw); done() })
      app.post('/', handler(setup))
    },
    begin: ({ t, port }) => {
      const socket = raw(
        t,
        port,
        'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a":'
      )
      return () => socket.destroy()
    },
    during: REQUEST
  },
  'a stream, sent whole': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      const source = endless('x')
      reply.send(source)
      entered.resolve(reply.raw)
      answer.promise.then(() => source.push(null))
    }),
    begin: setup => { get(setup.port); return answerIt(setup) },
    during: REQUEST
  },
  'aborted in the middle of a stream': {
    routes: streaming('text/csv', 'send'),
    begin: ({ port }) => {
      const request = get(port); return () => request.destroy()
    },
    during: REQUEST
  },
  'a stream that fails': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      const source = endless('x')
      reply.send(source)
      entered.resolve(reply.raw)
      answer.promise.then(() => source.destroy(new Error('expected')))
    }),
    begin: setup => { get(setup.port); return answerIt(setup) },
    during: REQUEST
  },
  'hijacked, and ended': {
    routes: (app, { entered, answer }) => app.get('/', (_request, reply) => {
      reply.hijack()
      entered.resolve(reply.raw)
      answer.promise.then(() => reply.raw.end('done'))
    }),
    begin: setup => { get(setup.port); return answerIt(setup) },
    during: REQUEST
  },
  'hijacked, begun, and aborted': {
    routes: streaming('text/csv', 'writeHead'),
    begin: ({ port }) => {
      const request = get(port); return () => request.destroy()
    },
    during: REQUEST
  },
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
  'an event stream by reply.send()': {
    routes: streaming('text/event-stream', 'send'),
    begin: ({ port }) => {
      const request = get(port, '/', { accept: 'text/event-stream' }); return () => request.destroy()
    },
    during: STREAM
  },
  'an event stream by reply.send(), without an Accept header': {
    routes: streaming(
      'text/event-stream; charset=utf-8',
      'send'
    ),
    begin: ({ port }) => { const request = get(port); return () => request.destroy() },
    during: STREAM
  },
  'an event stream by writeHead()': {
    routes: streaming('text/event-stream', 'writeHead'),
    begin: ({ port }) => {
      const request = get(port, '/', { accept: 'text/event-stream' }); return () => request.destroy()
    },
    during: STREAM
  },
  'an event stream by setHeader() on the raw response': {
    routes: streaming('text/event-stream', 'setHeader'),
    begin: ({ port }) => { const request = get(port); return () => request.destroy() },
    during: STREAM
  },
  'asks for an event stream, gets a download': {
    routes: streaming('text/csv', 'writeHead'),
    begin: ({ port }) => {
      const request = get(port, '/', { accept: 'text/event-stream' }); return () => request.destroy()
    },
    during: REQUEST
  },
  'a WebSocket, registered before': {
    before: app => app.register(websocket), routes: socketRoute, begin: upgrade, during: STREAM
  },
  'a WebSocket, registered after': {
    routes: async (app, setup) => {
      await app.register(websocket); await socketRoute(app, setup)
    },
    begin: upgrade,
    during: STREAM
  },
  'asks for an upgrade, and is answered by a plain handler': {
    routes: async (app, setup) => {
      app.post('/', handler(setup))
      await app.register(websocket)
    },
    begin: setup => {
      raw(
        setup.t,
        setup.port,
        'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'
      )
      return answerIt(setup)
    },
    during: REQUEST
  },
  'asks for an upgrade without a listener for upgrades': {
    routes: slow,
    begin: setup => {
      raw(setup.t, setup.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      return answerIt(setup)
    },
    during: REQUEST
  },
  'HTTP/2, answered': {
    server: { http2: true },
    routes: slow,
    begin: async setup => {
      await withHttp2(setup, {}); return answerIt(setup)
    },
    during: REQUEST
  },
  'HTTP/2, an event stream, reset': {
    server: { http2: true },
    routes: streaming('text/event-stream', 'send'),
    begin: async setup => { const stream = await withHttp2(setup, {}); return () => stream.close(8) },
    during: STREAM
  },
  'HTTP/2, an event stream by writeHead()': {
    server: { http2: true },
    routes: streaming('text/event-stream', 'writeHead'),
    begin: async setup => { const stream = await withHttp2(setup, {}); return () => stream.close(8) },
    during: STREAM
  },
  'HTTP/2, hijacked, without a type': {
    server: { http2: true },
    routes: streaming(null, 'writeHead'),
    begin: async setup => { const stream = await withHttp2(setup, {}); return () => stream.close(8) },
    during: REQUEST
  },
  'HTTP/2, reset, the handler answers later': {
    server: { http2: true },
    routes: slow,
    begin: async setup => {
      const stream = await withHttp2(setup, {}); return () => stream.close(8)
    },
    during: REQUEST,
    then: answerLate
  },
  'HTTP/2, the session is cut, the handler answers later': {
    server: { http2: true },
    routes: slow,
    begin: async setup => { const stream = await withHttp2(setup, {}); return () => stream.session?.destroy() },
    during: REQUEST,
    then: answerLate
  },
  'HTTP/2, the session is cut in the middle of a download': {
    server: { http2: true },
    routes: streaming('text/csv', 'send'),
    begin: async setup => { const stream = await withHttp2(setup, {}); return () => stream.session?.destroy() },
    during: REQUEST
  },
  connectionTimeout: {
    server: { connectionTimeout: 2000 },
    routes: slow,
    begin: ({ port }) => { get(port); return () => {} },
    during: REQUEST,
    then: answerLate
  },
  requestTimeout: {
    server: { requestTimeout: 2000, http: { connectionsCheckingInterval: 50, headersTimeout: 2000 } },
    routes: (app, setup) => {
      app.addHook('onRequest', (_request, reply, done) => { setup.entered.resolve(reply.raw); done() })
      app.post('/', handler(setup))
    },
    begin: ({ t, port }) => {
      raw(t, port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{')
      return () => {}
    },
    during: REQUEST
  },
  handlerTimeout: {
    server: { handlerTimeout: 2000 }, routes: slow, begin: ({ port }) => { get(port); return () => {} }, during: REQUEST
  },
  'inject()': { routes: slow, begin: setup => { setup.app.inject('/'); return answerIt(setup) }, during: REQUEST },
  'pipelined: all are counted, answered or not': {
    routes: slow,
    begin: setup => {
      raw(setup.t, setup.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(3))
      return answerIt(setup)
    },
    during: { inFlight: 3, streams: 0 }
  },
  'pipelined, and the client hangs up while the handlers run': {
    routes: slow, begin: pipelined(socket => socket.destroy()), during: { inFlight: 3, streams: 0 }, then: answerLate
  },
  'pipelined, and the connection is reset while the handlers run': {
    routes: slow,
    begin: pipelined(socket => socket.resetAndDestroy()),
    during: { inFlight: 3, streams: 0 },
    then: answerLate
  },
  'pipelined, and half closed while the handlers run': {
    routes: slow, begin: pipelined(socket => socket.end()), during: { inFlight: 3, streams: 0 }, then: answerLate
  },
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
  'pipelined, all but the first answered before the client hangs up': {
    routes: (app, { entered }) => app.get('/', (request, reply) => {
      if (request.headers.n !== '1') return reply.send('done')
      entered.resolve(reply.raw)
    }),
    begin: pipelined(socket => socket.destroy()),
    during: { inFlight: 3, streams: 0 },
    after: REQUEST,
    abandoned: true
  },
  'pipelined, and never answered': {
    routes: (app, { entered }) => app.get(
      '/',
      (_request, reply) => { entered.resolve(reply.raw) }
    ),
    begin: pipelined(socket => socket.destroy()),
    during: { inFlight: 3, streams: 0 },
    abandoned: true
  },
  'an event stream, pipelined behind another request': {
    routes: (app, setup) => {
      app.get('/', handler(setup))
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

t.test('a request counts exactly while it runs, however it ends', async t => {
  t.jobs = 8
  // with the clock stopped, no request counts as abandoned: each must report its end
  let clock = 1000
  t.teardown(() => Reflect.deleteProperty(performance, 'now'))
  performance.now = () => clock
  const run = ([name, way]: [string, Way]) => t.test(name, { buffered: true }, async t => {
    const { app } = bareApp(t, {
      forceCloseConnections: !('http2' in (way.server ?? {})), ...way.server
    } as FastifyServerOptions)
    await way.before?.(app)
    await app.register(maintenance)
    const parts = { t, app, entered: step<FastifyReply['raw']>(), answer: step() }
    t.teardown(() => parts.answer.resolve())
    await way.routes(app, parts)
    const setup = { ...parts, port: await listen(app) }
    const end = await way.begin(setup)
    const response = await parts.entered.promise
    const counted = () => counts(app.maintenance.status())
    await until(
      `counted: ${JSON.stringify(way.during)}`,
      () => JSON.stringify(counted()) === JSON.stringify(way.during)
    )
    await end()
    const isCounted = (read: string) =>
      t.strictSame(counted(), way.after ?? way.during, `its handler still runs, ${read}`)
    if (way.then !== undefined || way.abandoned === true) {
      await until(
        'the connection is closed',
        () => ('stream' in response ? response.stream as Socket : response).destroyed
      )
      for (const read of ['first read', 'second read']) isCounted(read)
      await way.then?.(setup)
    }
    if (way.abandoned === true) {
      clock += 59_999
      isCounted('just before the minute ends')
      clock++
      t.strictSame(counted(), NOTHING)
    }
    await until('no longer counted', () => JSON.stringify(counted()) === JSON.stringify(NOTHING))
    await app.maintenance.drained({ timeout: 60_000 })
  })
  const ways = Object.entries(WAYS)
  await Promise.all(ways.filter(([, { abandoned }]) => abandoned !== true).map(run))
  // in series, because each moves the clock
  for (const way of ways.filter(([, { abandoned }]) => abandoned === true)) await run(way)
})

t.test('requests that do not count', { buffered: true }, async t => {
  const store = createTestStore()
  const { app } = await createApp(t, {
    store, ignore: { routes: '/ignored', request: request => request.headers.staff === 'yes' }, bypass: {}
  })
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

t.test('a site function: each request counts for its site, or for all if its site is unknown', { buffered: true }, async t => {
  const { app } = await createApp(t, { site: request => request.headers.host as string, sites: ['shop', 'blog'] })
  const answer = step()
  app.get('/:x', async () => answer.promise)
  const counted = () => ['shop', 'blog'].map(site => app.maintenance.for(site).status().inFlight)
  for (const [host, expected] of [['shop', [1, 0]], ['blog', [1, 1]], ['nowhere', [2, 2]]] as const) {
    app.inject({ url: '/a', headers: { host } }).catch(() => {})
    await until(host, () => counted().join() === expected.join())
  }
  await app.maintenance.for('shop').set(true)
  await t.rejects(app.maintenance.for('shop').drained({ timeout: 30 }), {
    code: 'FST_ERR_MAINTENANCE_DRAIN', inFlight: 2, routes: { 'GET /:x': 2 }
  })
  t.match(await app.maintenance.for('shop').servers(), [{
    sites: [{ site: 'shop', active: true, draining: { 'GET /:x': 2 } }, { site: 'blog', active: false, draining: {} }]
  }])
  answer.resolve()
  await app.maintenance.for('shop').drained()
  t.strictSame(counted(), [0, 0])
})

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

async function heap (): Promise<number> {
  for (let i = 0; i < 5; i++) {
    gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}

/** The median of the slopes between any two samples (Theil–Sen). */
function slopeOf (samples: readonly number[]): number {
  const slopes = samples.flatMap((sample, i) => samples.slice(0, i).map((earlier, j) => (sample - earlier) / (i - j)))
  return slopes.sort((a, b) => a - b)[slopes.length >> 1] as number
}

t.test('requests that have ended are let go of soon, so that garbage collections have little to copy', async t => {
  const { app } = bareApp(t)
  await app.register(maintenance)
  const replies: WeakRef<FastifyReply>[] = []
  let held = 0
  app.get('/', async (_request, reply) => {
    replies.push(new WeakRef(reply))
    await sleep(2)
    return 'done'
  })
  app.get('/held', () => { held++ })
  const port = await listen(app)
  const isKept = (reply: WeakRef<FastifyReply>): boolean => reply.deref() !== undefined
  const keptOf = async (requests: number): Promise<number> => {
    replies.length = 0
    const ask = async (): Promise<void> => {
      for (let i = 0; i < requests; i += 5) await (await fetch(`http://127.0.0.1:${port}/`)).text()
    }
    await Promise.all([ask(), ask(), ask(), ask(), ask()])
    await heap()
    return replies.filter(isKept).length
  }
  t.ok(await keptOf(500) < 20)
  for (let i = 0; i < 30; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.write('GET /held HTTP/1.1\r\nHost: a\r\n\r\n')
    t.teardown(() => socket.destroy())
  }
  await until('30 requests are in flight', () => held === 30)
  t.ok(await keptOf(1000) < 80, 'about twice as many as are in flight')
})

t.test('200 rounds of on and off under load: no handle, listener, memory or reference is left', async t => {
  const store = beatingStore()
  const { app } = bareApp(t, { logger: false } as FastifyServerOptions)
  // compressing the bundled pages in each round would take most of the time
  const template = join(t.testdir({ 'page.eta': '<%= it.message %>' }), 'page.eta')
  await app.register(maintenance, { store, response: { template }, closeStreams: { after: '1h', jitter: 0 } })
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
  const measure = async () => ({
    heap: await heap(),
    timers: process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length,
    others: process.getActiveResourcesInfo().filter(kind => !/Timeout|TCP|TickObject|Immediate/.test(kind)).length,
    listeners: [app.server, process, signal].reduce((sum, emitter) => sum + (emitter instanceof EventEmitter
      ? emitter.eventNames().reduce((count, name) => count + emitter.listenerCount(name), 0)
      : 0), 0)
  })
  await rounds(40)
  const before = await measure()
  const heaps = [before.heap]
  let after = before
  for (let stretch = 0; stretch < 8; stretch++) {
    await rounds(25)
    after = await measure()
    heaps.push(after.heap)
  }
  t.ok(answered > 20, `${answered} requests were answered meanwhile`)
  // a leak grows steadily; occasional allocations of the engine hardly move the median slope
  const grown = slopeOf(heaps)
  t.ok(grown < 150_000, `${grown} bytes more in every 25 rounds: ${heaps.join(', ')}`)
  t.ok(after.timers <= before.timers + 2, `${before.timers} timers before, ${after.timers} after`)
  await until('no handle is left', async () => (await measure()).others <= before.others)
  t.equal(after.listeners, before.listeners)
  t.strictSame(counts(app.maintenance.status()), STREAM)
  stream.destroy()
})

t.test('ended requests are released: few references are kept', async t => {
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

t.test('pipelined requests are released automatically after their client hangs up', async t => {
  const child = spawn(process.execPath, [
    '--expose-gc', '--import', 'tsx', 'test/fixtures/pipelined-memory.ts'
  ], { env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const results = (await child.stdout.toArray()).join('').trim().split('\n').map(line => JSON.parse(line))
  t.strictSame(results.map(({ mode }) => mode), ['open', 'abandoned', 'hold', 'full'])
  for (const { mode, arrived, before, during, after, held, inFlight } of results) {
    t.ok(arrived > 1000, `${arrived} requests have arrived`)
    t.ok(mode === 'full' || during - before > 20, `${mode}: ${during - before} MB while they wait`)
    t.ok(after - before <= 5, `${mode}: ${after - before} MB more after the clients have hung up`)
    t.strictSame({ held, inFlight }, { held: 0, inFlight: 0 }, mode)
  }
})

t.test('after a burst, ended requests are released soon, without another request', async t => {
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
  await until('they are released', async () => {
    await heap()
    return kept.filter(reference => reference.deref() !== undefined).length <= 10
  })
})
