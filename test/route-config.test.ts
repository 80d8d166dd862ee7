import websocket, { type WebSocket } from '@fastify/websocket'
import type { FastifyContextConfig, FastifyInstance, FastifyRequest } from 'fastify'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import 'reflect-metadata'
import t from 'tap'
import maintenance from '../index.ts'
import { MaintenanceOff, MaintenanceOn } from '../lib/nest.ts'
import { createConfigReader } from '../lib/util/config-of.ts'
import { bareApp, counter, createApp } from './fixtures/app.ts'

t.test('config.maintenance: validated, and only own properties count', async t => {
  const { app } = await createApp(t)
  t.throws(() => app.get('/x', { config: { maintenance: 'of' as 'off' } }, async () => ''), {
    code: 'FST_ERR_MAINTENANCE_ROUTE', message: /route GET \/x is 'of', expected 'off', 'on', 'read' or 'write'/
  })
  app.get('/y', { config: {} }, async () => 'y')
  await app.maintenance.set(true)
  const prototype = Object.prototype as { maintenance?: string }
  t.teardown(() => { delete prototype.maintenance })
  prototype.maintenance = 'off'
  t.equal((await app.inject('/y')).statusCode, 503)
})

t.test('the slow getter routeOptions is read once, or always if Fastify keeps the route elsewhere', async t => {
  const { app } = bareApp(t)
  let reads = 0
  app.addHook('onRequest', (request, _reply, done) => {
    const { config } = request.routeOptions
    Object.defineProperty(request, 'routeOptions', { get () { reads++; return { config } } })
    done()
  })
  await app.register(maintenance)
  app.get('/off', { config: { maintenance: 'off' } }, async () => 'open')
  app.get('/', async () => 'open')
  await app.maintenance.set(true)
  for (let i = 0; i < 3; i++) {
    t.equal((await app.inject('/off')).statusCode, 200)
    t.equal((await app.inject('/')).statusCode, 503)
  }
  t.equal(reads, 1)

  const configOf = createConfigReader()
  for (const config of [{ url: '/a' }, { url: '/b' }]) {
    const request = { routeOptions: { config }, [Symbol('another')]: { config: {} } } as unknown as FastifyRequest
    t.equal(configOf(request), config as unknown as FastifyContextConfig)
  }
})

t.test("a route declared before the plugin can be 'on'", async t => {
  const { app } = bareApp(t)
  const run = counter()
  app.get('/on', { config: { maintenance: 'on' } }, run)
  app.register(maintenance)
  app.get('/unawaited', { config: { maintenance: 'on' } }, run)
  app.post('/off', { config: { maintenance: 'off' } }, run)
  for (const url of ['/on', '/unawaited']) t.equal((await app.inject(url)).statusCode, 503, url)
  t.equal((await app.inject({ url: '/on', method: 'HEAD' })).statusCode, 503)
  t.equal(run.runs, 0)
  await app.maintenance.set(true)
  t.equal((await app.inject({ url: '/off', method: 'POST' })).statusCode, 200)
})

t.test('an invalid config.maintenance fails the boot, whatever its source', async t => {
  const wrong = { config: { maintenance: 'Off' as 'off' } }
  const handler = async () => ''
  const declare: Record<string, (app: FastifyInstance) => unknown> = {
    'before the plugin': async app => {
      app.route({ method: ['PUT', 'POST'], url: '/wrong', ...wrong, handler }); await app.register(maintenance)
    },
    'after a register that is not awaited': app => { app.register(maintenance); app.post('/wrong', wrong, handler) },
    "by an onRoute hook after the plugin's": async app => {
      await app.register(maintenance)
      app.addHook('onRoute', route => { route.config = { ...route.config, ...wrong.config } })
      app.post('/wrong', handler)
    },
    'by such a hook in a child': async app => {
      await app.register(maintenance)
      app.register(async child => {
        child.addHook('onRoute', route => { route.config = { ...route.config, ...wrong.config } })
        child.post('/wrong', handler)
      })
    }
  }
  for (const [where, work] of Object.entries(declare)) {
    const { app } = bareApp(t)
    await work(app)
    await t.rejects(async () => { await app.ready() }, {
      code: 'FST_ERR_MAINTENANCE_ROUTE',
      message: /route (PUT,)?POST \/wrong is 'Off', expected 'off', 'on', 'read' or 'write'/
    }, where)
  }
})

t.test("an onRoute hook after the plugin's can set 'on', 'off' and the others", async t => {
  const { app } = await createApp(t)
  app.addHook('onRoute', route => { route.config = { ...route.config, maintenance: route.url.slice(1) as 'on' } })
  const run = counter()
  for (const says of ['on', 'off', 'read']) app.post(`/${says}`, run)
  const status = async (url: string) => (await app.inject({ url, method: 'POST' })).statusCode
  t.strictSame([await status('/on'), await status('/off'), run.runs], [503, 200, 1], 'while open')
  await app.maintenance.set(true, { mode: 'read-only' })
  t.strictSame([await status('/on'), await status('/off'), await status('/read')], [503, 200, 200])
})

t.test('a registration in a child does not validate routes outside of it', async t => {
  const { app } = bareApp(t)
  app.get('/theirs', { config: { maintenance: { window: 'sunday' } as unknown as 'on' } }, async () => 'ran')
  await app.register(async child => {
    await child.register(maintenance)
    child.get('/null', { config: null as never }, async () => 'ran')
  })
  t.equal((await app.inject('/theirs')).body, 'ran')
  t.equal((await app.inject('/null')).body, 'ran')
})

t.test("if the router does not list its routes, earlier routes may still be 'on'", async t => {
  const { app } = bareApp(t)
  const run = counter()
  app.get('/on', { config: { maintenance: 'on' } }, run)
  const print = app.printRoutes.bind(app)
  app.printRoutes = () => print()
  await app.register(maintenance)
  t.equal((await app.inject('/on')).statusCode, 503)
  t.equal(run.runs, 0)
})

t.test("read-only: an upgrade is a write unless its route is declared 'read'", async t => {
  const { app } = await createApp(t, { closeStreams: { after: 0, jitter: 0 } })
  await app.register(websocket)
  const chat = (socket: WebSocket) => { socket.on('message', () => {}) }
  app.get('/chat', { websocket: true }, chat)
  app.get('/news', { websocket: true, config: { maintenance: 'read' } }, chat)
  app.get('/', async () => 'page')
  const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  const handshake =
    'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  const open = async (path: string, headers = `Upgrade: websocket\r\n${handshake}`) => {
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`)
    const [answer] = await once(socket, 'data')
    return { socket, status: Number(String(answer).slice(9, 12)) }
  }
  const sockets = [await open('/chat'), await open('/news')]
  t.strictSame(sockets.map(({ status }) => status), [101, 101])
  const ended = once(sockets[0]?.socket as Socket, 'close')
  sockets[0]?.socket.resume()
  await app.maintenance.set(true, { mode: 'read-only' })
  t.equal((await open('/chat')).status, 503)
  t.equal((await open('/news')).status, 101)
  await ended
  t.equal(sockets[1]?.socket.destroyed, false, 'closeStreams keeps streams that only read')

  // without a listener for upgrades, Node answers them as plain requests
  const plain = await createApp(t)
  plain.app.get('/', async () => 'page')
  await plain.app.maintenance.set(true, { mode: 'read-only' })
  const status = async (upgrade: string) => (await plain.app.inject({ url: '/', headers: { upgrade } })).statusCode
  t.equal(await status('h2c'), 200, "Java's HttpClient offers it on every request")
  for (const upgrade of ['websocket', 'WebSocket', 'h2c, websocket', 'tcp', '']) {
    t.equal(await status(upgrade), 503, upgrade)
  }
})

t.test("a not-found handler can be declared 'off'", async t => {
  const { app } = await createApp(t)
  // Fastify accepts a config for the not-found handler, but its types omit it
  app.setNotFoundHandler({ config: { maintenance: 'off' } } as object, async () => 'nothing here')
  await app.maintenance.set(true)
  t.equal((await app.inject('/unknown')).body, 'nothing here')
})

t.test("the NestJS decorators keep a route's other config, and a handler's own setting", async t => {
  class Controller {
    first () {}
    second () {}
    third () {}
  }
  const { prototype } = Controller
  const configOf = (name: keyof Controller) => Reflect.getMetadata('__fastify_route_config__', prototype[name])
  const decorate = (decorator: MethodDecorator, name: keyof Controller) =>
    decorator(prototype, name, Object.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor)
  Reflect.defineMetadata('__fastify_route_config__', { rateLimit: false }, prototype.first)
  decorate(MaintenanceOff(), 'first')
  decorate(MaintenanceOn(), 'second')
  MaintenanceOff()(Controller)
  t.strictSame([
    configOf('first'), configOf('second'), configOf('third')
  ], [{ rateLimit: false, maintenance: 'off' }, { maintenance: 'on' }, { maintenance: 'off' }])
})
