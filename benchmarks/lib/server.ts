// The servers to compare: http.ts starts a process with a server's name, which sends back the URL.
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type RouteHandlerMethod } from 'fastify'
import underPressure from '@fastify/under-pressure'
import view from '@fastify/view'
import { Eta } from 'eta'
import { Redis } from 'ioredis'
import maintenance from 'fastify-maintenance'
import { BROWSER } from './http.ts'

const app = Fastify()
const template = '<!doctype html><title>Down</title><h1>Down for maintenance</h1><p><%= it.message %></p>'
const variables = { message: 'Back soon' }
const KEY = 'a key of more than 32 characters, of the benchmarks'

/** The handler of `/`. */
let handler: RouteHandlerMethod = async () => ({ hello: 'world' })

/** What the plugin sends to a client of a closed site. */
async function blockedResponse (client: Record<string, string>) {
  const closed = Fastify()
  await closed.register(maintenance)
  await closed.ready()
  // resolves after the page has been compressed
  await closed.maintenance.set(true)
  const { headers: { date, connection, ...headers }, rawPayload } = await closed.inject({ url: '/', headers: client })
  return { headers, bytes: rawPayload }
}

async function sendFromHandler (client: Record<string, string>): Promise<void> {
  const { headers, bytes } = await blockedResponse(client)
  handler = async (_request, reply) => reply.code(503).headers(headers).send(bytes)
}

const servers: { readonly [name: string]: (app: FastifyInstance) => Promise<void> } = {
  async bare () {},
  async 'empty hook' () {
    app.addHook('onRequest', (_request, _reply, done) => { done() })
  },
  async open () {
    await app.register(maintenance)
  },
  async closed () {
    await app.register(maintenance, { pinned: 'closed' })
  },
  async attacked () {
    await app.register(maintenance, { ignore: { routes: ['/health'] }, bypass: { key: KEY } })
    app.get('/health', async () => 'ok')
    await app.maintenance.set(true, { bypass: true })
  },
  'handler, HTML': () => sendFromHandler(BROWSER),
  'handler, JSON': () => sendFromHandler({ accept: 'application/json' }),
  async send () {
    const page = new Eta().renderString(template, variables)
    app.addHook('onRequest', (_request, reply, _done) => {
      reply.code(503).type('text/html; charset=utf-8').send(page)
    })
  },
  async view () {
    const eta = new Eta()
    const page = eta.compile(template)
    await app.register(view, { engine: { eta }, production: true })
    app.addHook('onRequest', (_request, reply, _done) => {
      reply.code(503).view(page as unknown as string, variables)
    })
  },
  async throw () {
    app.addHook('onRequest', (_request, _reply, done) => {
      done(Object.assign(new Error('maintenance'), { statusCode: 503 }))
    })
  },
  async 'under-pressure, open' () {
    await app.register(underPressure, { healthCheck: async () => true, healthCheckInterval: 1000 })
  },
  async 'under-pressure, closed' () {
    await app.register(underPressure, { healthCheck: async () => false, healthCheckInterval: 1000 })
  },
  async redis () {
    const redis = new Redis(process.env.REDIS_URL as string)
    app.addHook('onRequest', async (_request, reply) => {
      if (await redis.get(process.env.REDIS_KEY as string) === null) return
      reply.code(503).header('retry-after', '300').send({ statusCode: 503, message: 'Back soon' })
      return reply
    })
  }
}

/** Servers without Fastify; each returns its URL. */
const others: { readonly [name: string]: () => Promise<string> } = {
  async node () {
    const bytes = JSON.stringify({ hello: 'world' })
    const headers = { 'content-type': 'application/json; charset=utf-8', 'content-length': String(bytes.length) }
    return listen(createServer((_request, response) => { response.writeHead(200, headers).end(bytes) }))
  },
  async 'node, HTML' () {
    const { headers, bytes } = await blockedResponse(BROWSER)
    const text = bytes.toString('latin1')
    return listen(createServer((_request, response) => { response.writeHead(503, headers).end(text, 'latin1') }))
  },
  async 'express, open' () {
    return listen(createServer(express5(false)))
  },
  async 'express, closed' () {
    return listen(createServer(express5(true)))
  }
}

/** The methods used here. The full types would need another package. */
interface ExpressResponse {
  status (code: number): this
  set (name: string, value: string): this
  send (body: string): void
  json (body: object): void
}

/** The middleware that most answers on the web suggest. */
function express5 (isClosed: boolean): RequestListener {
  const application = createRequire(import.meta.url)('express')()
  const page = new Eta().renderString(template, variables)
  application.use((_request: unknown, response: ExpressResponse, next: () => void) => {
    if (!isClosed) return next()
    response.status(503).set('Retry-After', '300').send(page)
  })
  application.get('/', (_request: unknown, response: ExpressResponse) => { response.json({ hello: 'world' }) })
  return application
}

async function listen (server: Server): Promise<string> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function listenFastify (name: string): Promise<string> {
  const prepare = servers[name]
  if (prepare === undefined) throw new Error(`unknown server '${name}'`)
  await prepare(app)
  app.get('/', handler)
  return app.listen({ port: 0, host: '127.0.0.1' })
}

const name = process.argv[2] ?? ''
const url = await (others[name]?.() ?? listenFastify(name))
// until its page is compressed, a closed site sends it uncompressed; all responses of a measurement must be equal
while (others[name] === undefined && await isCompressing()) await new Promise(resolve => setTimeout(resolve, 20))

async function isCompressing (): Promise<boolean> {
  const { headers } = await app.inject({ url: '/', headers: BROWSER })
  const isPage = headers['maintenance-mode'] !== undefined && headers['content-security-policy'] !== undefined
  return isPage && headers['content-encoding'] === undefined
}

let before = process.cpuUsage()
process.on('message', () => {
  const { user, system } = process.cpuUsage(before)
  before = process.cpuUsage()
  process.send?.({ cpu: user + system })
})
process.send?.(url)
