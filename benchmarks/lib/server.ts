// The servers that are compared; started by http.ts with a name, it answers with its address.
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

/** What a handler answers where nothing refuses. */
let answer: RouteHandlerMethod = async () => ({ hello: 'world' })

/** Our answer to a client, as it is sent. */
async function refusal (client: Record<string, string>) {
  const closed = Fastify()
  await closed.register(maintenance)
  await closed.ready()
  // settles when the page is compressed too
  await closed.maintenance.set(true)
  const { headers: { date, connection, ...headers }, rawPayload } = await closed.inject({ url: '/', headers: client })
  return { headers, bytes: rawPayload }
}

async function answerAs (client: Record<string, string>): Promise<void> {
  const { headers, bytes } = await refusal(client)
  answer = async (_request, reply) => reply.code(503).headers(headers).send(bytes)
}

const servers: { readonly [name: string]: (app: FastifyInstance) => Promise<void> } = {
  async bare () {},
  async off () {
    await app.register(maintenance)
  },
  async on () {
    await app.register(maintenance, { pinned: 'closed' })
  },
  async attacked () {
    await app.register(maintenance, { ignore: { routes: ['/health'] }, bypass: { key: 'a key of more than 32 characters, of the benchmarks' } })
    app.get('/health', async () => 'ok')
    await app.maintenance.set(true, { bypass: true })
  },
  // our answers, from a handler
  page: () => answerAs(BROWSER),
  json: () => answerAs({ accept: 'application/json' }),
  async closed () {
    await app.register(maintenance)
    await app.maintenance.set(true)
  },
  async bypass () {
    await app.register(maintenance, { bypass: { key: 'a key of more than 32 characters, of the benchmarks' } })
    await app.maintenance.set(true, { bypass: true })
  },
  async send () {
    const page = new Eta().renderString(template, variables)
    app.addHook('onRequest', (_request, reply, _done) => { reply.code(503).type('text/html; charset=utf-8').send(page) })
  },
  async view () {
    const eta = new Eta()
    const page = eta.compile(template)
    await app.register(view, { engine: { eta }, production: true })
    app.addHook('onRequest', (_request, reply, _done) => { reply.code(503).view(page as unknown as string, variables) })
  },
  async throw () {
    app.addHook('onRequest', (_request, _reply, done) => { done(Object.assign(new Error('maintenance'), { statusCode: 503 })) })
  },
  async empty () {
    app.addHook('onRequest', (_request, _reply, done) => { done() })
  },
  async 'under-pressure' () {
    await app.register(underPressure, { healthCheck: async () => true, healthCheckInterval: 1000 })
  },
  async 'under-pressure-on' () {
    await app.register(underPressure, { healthCheck: async () => false, healthCheckInterval: 1000 })
  },
  async 'ask-redis' () {
    const redis = new Redis(process.env.REDIS_URL as string)
    app.addHook('onRequest', async (_request, reply) => {
      if (await redis.get(process.env.REDIS_KEY as string) === null) return
      reply.code(503).header('retry-after', '300').send({ statusCode: 503, message: 'Back soon' })
      return reply
    })
  }
}

/** Those that are not Fastify; each tells where it listens. */
const others: { readonly [name: string]: () => Promise<string> } = {
  async node () {
    const bytes = JSON.stringify({ hello: 'world' })
    const headers = { 'content-type': 'application/json; charset=utf-8', 'content-length': String(bytes.length) }
    return listen(createServer((_request, response) => { response.writeHead(200, headers).end(bytes) }))
  },
  async 'node-page' () {
    const { headers, bytes } = await refusal(BROWSER)
    const text = bytes.toString('latin1')
    return listen(createServer((_request, response) => { response.writeHead(503, headers).end(text, 'latin1') }))
  },
  async express () {
    return listen(createServer(express5(false)))
  },
  async 'express-on' () {
    return listen(createServer(express5(true)))
  }
}

/** As much of it as is used here; its types are a package of their own. */
interface ExpressResponse {
  status (code: number): this
  set (name: string, value: string): this
  send (body: string): void
  json (body: object): void
}

/** As it stands in a hundred answers on the web. */
function express5 (on: boolean): RequestListener {
  const application = createRequire(import.meta.url)('express')()
  const page = new Eta().renderString(template, variables)
  application.use((_request: unknown, response: ExpressResponse, next: () => void) => {
    if (!on) return next()
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
  if (prepare === undefined) throw new Error(`no server ${name}`)
  await prepare(app)
  app.get('/', answer)
  return app.listen({ port: 0, host: '127.0.0.1' })
}

const name = process.argv[2] ?? ''
const address = await (others[name]?.() ?? listenFastify(name))
// a closed site answers before its page is compressed, and all answers of a measurement are the same
while (others[name] === undefined && await isUnready()) await new Promise(resolve => setTimeout(resolve, 20))

async function isUnready (): Promise<boolean> {
  const { headers } = await app.inject({ url: '/', headers: BROWSER })
  return headers['maintenance-mode'] !== undefined && headers['content-security-policy'] !== undefined && headers['content-encoding'] === undefined
}

let before = process.cpuUsage()
process.on('message', () => {
  const { user, system } = process.cpuUsage(before)
  before = process.cpuUsage()
  process.send?.({ cpu: user + system })
})
process.send?.(address)
