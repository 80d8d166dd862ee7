// The servers that are compared; started by http.ts with a name, it answers with its address.
import Fastify, { type FastifyInstance, type RouteHandlerMethod } from 'fastify'
import view from '@fastify/view'
import { Eta } from 'eta'
import maintenance from 'fastify-maintenance'
import { BROWSER } from './http.ts'

const app = Fastify()
const template = '<!doctype html><title>Down</title><h1>Down for maintenance</h1><p><%= it.message %></p>'
const variables = { message: 'Back soon' }

/** What a handler answers where nothing refuses. */
let answer: RouteHandlerMethod = async () => ({ hello: 'world' })

/** Our page for a browser, as it is sent. */
async function refusal () {
  const closed = Fastify()
  await closed.register(maintenance)
  await closed.ready()
  // settles when the page is compressed too
  await closed.maintenance.set(true)
  const { headers: { date, connection, ...headers }, rawPayload } = await closed.inject({ url: '/', headers: BROWSER })
  return { headers, bytes: rawPayload }
}

const servers: { readonly [name: string]: (app: FastifyInstance) => Promise<void> } = {
  async bare () {},
  async off () {
    await app.register(maintenance)
  },
  async on () {
    await app.register(maintenance, { enabled: true })
  },
  // our page, from a handler
  async page () {
    const { headers, bytes } = await refusal()
    answer = async (_request, reply) => reply.code(503).headers(headers).send(bytes)
  },
  // without Fastify: what Node itself takes for a small answer, and for our page
  async node () {
    const bytes = JSON.stringify({ hello: 'world' })
    const headers = { 'content-type': 'application/json; charset=utf-8', 'content-length': String(bytes.length) }
    app.server.removeAllListeners('request').on('request', (_request, response) => { response.writeHead(200, headers).end(bytes) })
  },
  async 'node-page' () {
    const { headers, bytes } = await refusal()
    const text = bytes.toString('latin1')
    app.server.removeAllListeners('request').on('request', (_request, response) => { response.writeHead(503, headers).end(text, 'latin1') })
  },
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
  }
}

const prepare = servers[process.argv[2] ?? '']
if (prepare === undefined) throw new Error(`no server ${process.argv[2]}`)
await prepare(app)
app.get('/', answer)
const address = await app.listen({ port: 0, host: '127.0.0.1' })

let before = process.cpuUsage()
process.on('message', () => {
  const { user, system } = process.cpuUsage(before)
  before = process.cpuUsage()
  process.send?.({ cpu: user + system })
})
process.send?.(address)
