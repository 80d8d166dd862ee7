import { once } from 'node:events'
import { request as requestHttp1, ServerResponse, type IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyServerOptions, onSendHookHandler } from 'fastify'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import type { FastifyMaintenanceOptions } from '../types/index.ts'
import { bareApp, counter, until } from './fixtures/app.ts'

// Whatever hooks and callbacks do, a client gets one answer in time, the process survives, and no handler of a blocked
// request runs.
// tap reports uncaught exceptions and unhandled rejections as failures.

interface Seen { status: number | string, text: string, headers: Record<string, unknown> }

interface Row {
  readonly options?: FastifyMaintenanceOptions
  readonly server?: object
  /** Runs before the plugin is registered. */
  readonly before?: (app: FastifyInstance) => unknown
  readonly status: number | string
  readonly text?: RegExp
  readonly headers?: object
  readonly accept?: string
  readonly runs?: number
  readonly only?: 1 | 2
  /** The shortest time until the answer, in ms. */
  readonly wait?: number
}

const OURS = /"code":"FST_ERR_MAINTENANCE"/
const ours = { status: 503, text: OURS, headers: { 'maintenance-mode': 'full' } }
const onBlocked = (
  onBlocked: NonNullable<FastifyMaintenanceOptions['onBlocked']>, more: FastifyMaintenanceOptions = {}
): FastifyMaintenanceOptions => ({ ...more, onBlocked })
const ignoring = (request: () => boolean | Promise<boolean>): FastifyMaintenanceOptions => ({ ignore: { request } })
const timeout = (ms: number): object => ({ handlerTimeout: ms })
/** A slow, callback-based answer of the application: an error thrown after it would end the process. */
const slowSend = (ms: number) => (app: FastifyInstance): void => {
  app.addHook('onSend', (_request, _reply, payload, done) => { setTimeout(() => done(null, payload), ms) })
}
const neverSends = (app: FastifyInstance): void => { app.addHook('onSend', (() => {}) as unknown as onSendHookHandler) }

const broken = (app: FastifyInstance): void => patched(() => { throw new Error('boom') })(app)

const ROWS: { readonly [name: string]: Row } = {
  'onBlocked sends': {
    options: onBlocked((_request, reply) => { reply.code(418).send('own') }), status: 418, text: /^own$/
  },
  'onBlocked sends slowly': {
    options: onBlocked(
      (_request, reply) => { reply.code(418).send('own') }
    ),
    before: slowSend(50),
    status: 418,
    text: /^own$/
  },
  'onBlocked returns the reply': {
    options: onBlocked(
      async (_request, reply) => reply.code(418).send('own') as unknown as Promise<void>
    ),
    before: slowSend(50),
    status: 418
  },
  'onBlocked sends a stream': {
    options: onBlocked((_request, reply) => {
      reply.code(418).send(Readable.from(['o', 'wn']))
    }),
    status: 418,
    text: /^own$/
  },
  'onBlocked redirects': {
    options: onBlocked((_request, reply) => { reply.redirect('/login') }), status: 302, headers: { location: '/login' }
  },
  'onBlocked hijacks': {
    options: onBlocked((_request, reply) => {
      setTimeout(() => reply.raw.end('later'), 50); reply.hijack()
    }),
    status: 200,
    text: /^later$/
  },
  'onBlocked ends the raw response': {
    options: onBlocked((_request, reply) => {
      reply.raw.statusCode = 418; reply.raw.end('raw')
    }),
    status: 418,
    text: /^raw$/
  },
  'onBlocked calls the not-found handler': {
    options: onBlocked((_request, reply) => { reply.callNotFound() }), status: 404
  },
  'onBlocked sends, and throws': {
    options: onBlocked((_request, reply) => {
      reply.code(418).send('own'); throw new Error('after')
    }),
    status: 418
  },
  'onBlocked sends an invalid payload': {
    options: onBlocked((_request, reply) => { reply.type('text/plain').send(7) }), ...ours
  },
  'onBlocked throws': { options: onBlocked(() => { throw new Error('boom') }), ...ours },
  'onBlocked rejects': { options: onBlocked(() => Promise.reject(new Error('boom'))), ...ours },
  // eslint-disable-next-line no-throw-literal
  'onBlocked throws nothing': { options: onBlocked(() => { throw undefined }), ...ours },
  'onBlocked never ends': { options: onBlocked(() => new Promise(() => {})), ...ours, wait: 2900 },
  'onBlocked sends, and onSend never finishes': {
    options: onBlocked((_request, reply) => { reply.send('own') }), before: neverSends, ...ours, wait: 2900
  },
  'onBlocked answers in every way, too late': {
    options: onBlocked(async (_request, reply) => {
      await sleep(3200)
      reply.send('late')
      reply.raw.setHeader('x-late', '1')
      reply.raw.writeHead(200)
      reply.raw.write('late')
      reply.raw.end('late')
    }),
    ...ours,
    wait: 2900
  },
  'onBlocked sets headers that Node rejects': {
    options: onBlocked((_request, reply) => {
      for (const bad of ['a\nb', '\u2603', null, Symbol('x'), Object.create(null), ['ok', 'a\nb'], ['ok', undefined]]) {
        reply.header(`x-${String(typeof bad)}-${Math.random()}`, bad)
      }
      reply.header('x y', 'a').header(':status', '200').header('x-good', ['a', 'b'])
      Object.assign(reply.getHeaders(), { 'x-none': undefined })
    }),
    ...ours,
    headers: { 'maintenance-mode': 'full', 'x-good': 'a, b', ':x': undefined }
  },

  'an earlier hook has begun to send': {
    before: app => {
      slowSend(50)(app); app.addHook('onRequest', (_request, reply, done) => { reply.send('early'); done() })
    },
    ...ours
  },
  'an earlier hook has begun to send a stream': {
    before: app => {
      slowSend(50)(app)
      app.addHook('onRequest', (_request, reply, done) => { reply.send(Readable.from(['early'])); done() })
    },
    ...ours
  },
  'an earlier hook has sent the headers': {
    before: app => app.addHook('onRequest', (_request, reply, done) => {
      reply.raw.writeHead(418); setTimeout(() => reply.raw.end('early'), 50); done()
    }),
    status: 418,
    text: /^early$/
  },
  'an earlier hook has hijacked': {
    before: app => app.addHook('onRequest', (_request, reply, done) => {
      reply.hijack(); setTimeout(() => reply.raw.end('early'), 50); done()
    }),
    status: 200,
    text: /^early$/
  },
  'an earlier hook sets a status message that Node rejects': {
    before: app => app.addHook(
      'onRequest',
      async (_request, reply) => { reply.header('x-good', '1').raw.statusMessage = 'a\nb' }
    ),
    ...ours,
    headers: { 'x-good': '1' },
    only: 1
  },
  'an earlier hook sets headers that HTTP/2 rejects': {
    before: app => app.addHook('onRequest', async (_request, reply) => {
      for (const name of ['Keep-Alive', 'upgrade', 'te', 'proxy-connection', 'http2-settings', 'connection']) {
        reply.header(name, 'x')
      }
      reply.header('x-good', '1')
    }),
    ...ours,
    headers: { 'x-good': '1', 'keep-alive': undefined },
    only: 2
  },
  'an end that takes bytes only': {
    before: app => app.addHook('onRequest', async (_request, { raw }) => {
      const { end } = raw
      raw.end = ((content: unknown) => end.call(raw, Buffer.isBuffer(content) ? content : 'text', 'utf8')) as typeof raw.end
    }),
    ...ours
  },
  'an earlier hook sets two values of a single-valued header': {
    before: app => app.addHook(
      'onRequest',
      async (_request, reply) => { reply.header('access-control-max-age', ['1', '2']) }
    ),
    ...ours
  },
  'a writeHead that throws': { before: patched(() => { throw new Error('boom') }), ...ours },
  'a writeHead that throws after it has written': {
    before: patched((writeHead, raw, args) => {
      writeHead.apply(raw, args); throw new Error('boom')
    }),
    status: 503
  },
  'a writeHead that throws, and nothing else works': {
    before: app => {
      patched(() => { throw new Error('boom') })(app); breakEverything(app)
    },
    status: 'closed',
    only: 1
  },
  'a logger that throws': {
    options: onBlocked(async () => {}),
    before: app => app.addHook('onRequest', async ({ log }) => {
      log.debug = () => { throw new Error('the log is full') }
    }),
    status: 500
  },
  'a logger that throws, behind ignore.request': {
    options: ignoring(async () => false),
    before: app => app.addHook('onRequest', async ({ log }) => {
      log.debug = () => { throw new Error('the log is full') }
    }),
    status: 'closed'
  },
  'a logger that throws, after data and writeHead have thrown': {
    options: { response: { template: 'test/fixtures/page.eta', data: async () => ({}) } },
    accept: 'text/html',
    before: app => {
      patched(() => { throw new Error('boom') })(app)
      app.addHook('onRequest', async ({ log }) => { log.warn = () => { throw new Error('the log is full') } })
    },
    status: 503
  },
  'a URL that cannot be parsed': {
    before: app => app.addHook('onRequest', async request => {
      Object.defineProperty(request, 'originalUrl', { get () { throw new Error('boom') } })
    }),
    options: { response: { redirect: 'https://status.example/down' } },
    accept: 'text/html',
    ...ours
  },

  'handlerTimeout before ignore.request returns false': {
    server: timeout(50), options: ignoring(async () => { await sleep(150); return false }), ...ours
  },
  'handlerTimeout before ignore.request returns true': {
    server: timeout(50), options: ignoring(async () => { await sleep(150); return true }), ...ours
  },
  'handlerTimeout before ignore.request ends, its answer still on the way': {
    server: timeout(50),
    before: slowSend(200),
    options: ignoring(async () => { await sleep(150); return true }),
    ...ours
  },
  'handlerTimeout before onBlocked ends': { server: timeout(50), options: onBlocked(() => sleep(150)), ...ours },
  'handlerTimeout during a hold': { server: timeout(50), options: { hold: { timeout: 200 } }, ...ours },
  'handlerTimeout during a hold, its answer still on the way': {
    server: timeout(50),
    before: slowSend(300),
    options: { hold: { timeout: 200 }, onBlocked: () => { throw new Error('never called') } },
    ...ours
  },
  'handlerTimeout before ignore.request returns false, and a writeHead that throws': {
    server: timeout(50), before: broken, options: ignoring(async () => { await sleep(1000); return false }), ...ours
  },
  'handlerTimeout before ignore.request returns true, and a writeHead that throws': {
    server: timeout(50), before: broken, options: ignoring(async () => { await sleep(1000); return true }), ...ours
  },
  'handlerTimeout before onBlocked ends, and a writeHead that throws': {
    server: timeout(50), before: broken, options: onBlocked(() => sleep(1000)), ...ours
  },
  'handlerTimeout during a hold, and a writeHead that throws': {
    server: timeout(50), before: broken, options: { hold: { timeout: 1000 } }, ...ours
  }
}

type WriteHead = (...args: unknown[]) => ServerResponse

function patched (
  writeHead: (original: WriteHead, raw: ServerResponse, args: unknown[]) => ServerResponse
): (app: FastifyInstance) => void {
  return app => {
    app.addHook('onRequest', async (_request, { raw }) => {
      const original = raw.writeHead as WriteHead
      raw.writeHead = ((...args: unknown[]) => writeHead(original, raw, args)) as typeof raw.writeHead
    })
  }
}

function breakEverything (app: FastifyInstance): void {
  app.addHook('onRequest', async (_request, { raw }) => { raw.getHeaderNames = () => { throw new Error('boom') } })
}

async function visit (app: FastifyInstance, version: number, accept: string): Promise<Seen> {
  const { port } = app.server.address() as AddressInfo
  try {
    return await Promise.race([
      version === 1 ? visitHttp1(port, accept) : visitHttp2(port, accept),
      sleep(20_000, { status: 'no answer', text: '', headers: {} }, { ref: false })
    ])
  } catch {
    return { status: 'closed', text: '', headers: {} }
  }
}

async function visitHttp1 (port: number, accept: string): Promise<Seen> {
  const request = requestHttp1({ host: '127.0.0.1', port, agent: false, headers: { accept } }).end()
  const [response] = await once(request, 'response') as [IncomingMessage]
  return { status: response.statusCode as number, headers: response.headers, text: (await response.toArray()).join('') }
}

async function visitHttp2 (port: number, accept: string): Promise<Seen> {
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  try {
    const stream = session.request({ ':path': '/', accept })
    const closed = once(stream, 'close').then(() => { throw new Error('closed without an answer') })
    closed.catch(() => {})
    const [headers] = await Promise.race([once(stream, 'response'), closed])
    return { status: headers[':status'], headers, text: (await stream.toArray()).join('') }
  } finally {
    session.destroy()
  }
}

t.test('one answer, whatever hooks and callbacks do (HTTP/1)', t => checkAll(t, 1))
t.test('one answer, whatever hooks and callbacks do (HTTP/2)', t => checkAll(t, 2))

async function checkAll (t: Test, version: number): Promise<void> {
  const rows = Object.entries(ROWS).filter(([, { only = version }]) => only === version)
  const lasts: Promise<void>[] = []
  for (const [name, row] of rows) lasts.push(check(name, row))
  await Promise.all(lasts)

  async function check (name: string, {
    options = {}, server = {}, before, status, text = /^/, headers = {}, accept = '*/*', runs = 0, wait = 0
  }: Row): Promise<void> {
    const { app } = bareApp(t, {
      ...(version === 2 ? { http2: true, forceCloseConnections: false } : {}), ...server
    } as FastifyServerOptions)
    before?.(app)
    await app.register(maintenance, options)
    const handler = counter()
    app.get('/', handler)
    await app.listen({ port: 0, host: '127.0.0.1' })
    await app.maintenance.set(true, { mode: options.hold === undefined ? 'full' : 'hold' })
    for (const round of wait > 0 ? [1] : [1, 2]) {
      const began = performance.now()
      const seen = await visit(app, version, accept)
      t.match(seen, { status, text, headers }, `${name}, round ${round}`)
      t.ok(performance.now() - began >= wait, `${name}: not too early`)
      await sleep(wait > 0 ? 500 : 200)
    }
    t.equal(handler.runs, runs, `${name}: runs of the handler`)
    t.match(app.maintenance.status(), { inFlight: 0, held: 0 }, `${name}: nothing is left behind`)
  }
}

t.test('if a client hangs up before ignore.request answers, no handler runs and nothing is left', async t => {
  const { app } = bareApp(t)
  let asked: () => void = () => {}
  await app.register(maintenance, ignoring(() => new Promise(resolve => { asked = () => resolve(true) })))
  const handler = counter()
  let closed = false
  app.addHook('onRequest', async () => { throw new Error('never called') })
  app.get('/', handler)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true)
  app.server.once('request', (_request, response) => response.once('close', () => { closed = true }))
  const idle = asked
  const socket = connect(
    (app.server.address() as AddressInfo).port,
    '127.0.0.1',
    () => socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  )
  await until('ignore.request is called', () => asked !== idle)
  socket.destroy()
  await until('the server has noticed', () => closed)
  asked()
  await sleep(50)
  t.equal(handler.runs, 0)
  t.match(app.maintenance.status(), { inFlight: 0, held: 0 })
})
