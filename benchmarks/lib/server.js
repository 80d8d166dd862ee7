/**
 * The servers to compare: http.ts starts a process with a server's name, which sends back the URL. Plain JavaScript, so
 * that dozens of processes start quickly.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'
import { API_CLIENT, BROWSER } from './clients.js'

// see `PACKAGES` in http.ts
for (const name of (process.env.LOADED ?? '').split(',').filter(name => name !== '')) await import(name)

const app = Fastify()
// see `registerElsewhere` in scenarios.js
const idle = Fastify()
await idle.register(maintenance)
await idle.ready()

const template = '<!doctype html><title>Down</title><h1>Down for maintenance</h1><p><%= it.message %></p>'
const variables = { message: 'Back soon' }
const KEY = 'a key of more than 32 characters, of the benchmarks'

/** The handler of `/`. */
let handler = async () => ({ hello: 'world' })

/** What the plugin sends to a client of a closed site. */
async function blockedResponse (client) {
  const closed = Fastify()
  await closed.register(maintenance)
  await closed.ready()
  // resolves after the page has been compressed
  await closed.maintenance.set(true)
  const { headers: { date, connection, ...headers }, rawPayload } = await closed.inject({ url: '/', headers: client })
  return { headers, bytes: rawPayload }
}

async function sendFromHandler (client) {
  const { headers, bytes } = await blockedResponse(client)
  handler = async (_request, reply) => reply.code(503).headers(headers).send(bytes)
}

const servers = {
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
  'handler, JSON': () => sendFromHandler(API_CLIENT),
  async view () {
    const eta = new (await import('eta')).Eta()
    const page = eta.compile(template)
    await app.register(import('@fastify/view'), { engine: { eta }, production: true })
    app.addHook('onRequest', (_request, reply, _done) => {
      reply.code(503).view(page, variables)
    })
  },
  async 'under-pressure, open' () {
    await app.register(import('@fastify/under-pressure'), { healthCheck: async () => true, healthCheckInterval: 1000 })
  },
  async 'under-pressure, closed' () {
    await app.register(import('@fastify/under-pressure'), { healthCheck: async () => false, healthCheckInterval: 1000 })
  },
  async redis () {
    const { Redis } = await import('ioredis')
    const redis = new Redis(process.env.REDIS_URL)
    app.addHook('onRequest', async (_request, reply) => {
      if (await redis.get(process.env.REDIS_KEY) === null) return
      reply.code(503).header('retry-after', '300').send({ statusCode: 503, message: 'Back soon' })
      return reply
    })
  }
}

/** Servers without Fastify; each returns its URL. */
const others = {
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
    return listen(createServer(await express5(false)))
  },
  async 'express, closed' () {
    return listen(createServer(await express5(true)))
  }
}

/** The middleware that most answers on the web suggest. */
async function express5 (isClosed) {
  const { default: express } = await import('express')
  const application = express()
  const page = await renderPage()
  application.use((_request, response, next) => {
    if (!isClosed) return next()
    response.status(503).set('Retry-After', '300').send(page)
  })
  application.get('/', (_request, response) => { response.json({ hello: 'world' }) })
  return application
}

async function renderPage () {
  const { Eta } = await import('eta')
  return new Eta().renderString(template, variables)
}

async function listen (server) {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `http://127.0.0.1:${server.address().port}`
}

async function listenFastify (name) {
  const prepare = servers[name]
  if (prepare === undefined) throw new Error(`unknown server '${name}'`)
  await prepare()
  app.get('/', handler)
  return app.listen({ port: 0, host: '127.0.0.1' })
}

const name = process.argv[2] ?? ''
const url = await (others[name]?.() ?? listenFastify(name))
// until its page is compressed, a closed site sends it uncompressed; all responses of a measurement must be equal
for (let i = 0; others[name] === undefined && await isCompressing(); i++) {
  if (i === 500) throw new Error(`the page of '${name}' is still not compressed`)
  await sleep(20)
}

async function isCompressing () {
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
// the benchmark has ended, or failed
process.on('disconnect', () => process.exit())
process.send?.(url)
