// The servers that are compared; started by http.ts with a name, it answers with its address.
import Fastify, { type FastifyInstance } from 'fastify'
import view from '@fastify/view'
import { Eta } from 'eta'
import maintenance from 'fastify-maintenance'

const app = Fastify()
const template = '<!doctype html><title>Down</title><h1>Down for maintenance</h1><p><%= it.message %></p>'
const variables = { message: 'Back soon' }

const servers: { readonly [name: string]: (app: FastifyInstance) => Promise<void> } = {
  async bare () {},
  async off () {
    await app.register(maintenance)
  },
  async on () {
    await app.register(maintenance, { enabled: true })
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
app.get('/', async () => ({ hello: 'world' }))
const address = await app.listen({ port: 0, host: '127.0.0.1' })

let before = process.cpuUsage()
process.on('message', () => {
  const { user, system } = process.cpuUsage(before)
  before = process.cpuUsage()
  process.send?.({ cpu: user + system })
})
process.send?.(address)
