// A small site that can be closed for maintenance. Start it with `npm start`.
import { randomBytes } from 'node:crypto'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import cookie from '@fastify/cookie'
import session from '@fastify/session'
import view from '@fastify/view'
import { Eta } from 'eta'
import Fastify, { type FastifyReply } from 'fastify'
import maintenance from 'fastify-maintenance'
import maintenanceAdmin from 'fastify-maintenance/admin'
import { addSignIn, authorize, passwordHash } from './sign-in.ts'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const stateFile = process.env.STATE_FILE ?? here('maintenance.json')
const host = process.env.HOST ?? 'localhost'
const hash = await passwordHash(host)

const app = Fastify()

// Before all other plugins except CORS, so that blocked requests don't reach them.
await app.register(maintenance, {
  store: { file: stateFile },
  ignore: { routes: ['/health'] },
  bypass: {}
})
// The session before the admin page, which reads the user from it. Without SESSION_SECRET, a restart signs everyone
// out.
await app.register(cookie)
await app.register(session, {
  secret: process.env.SESSION_SECRET ?? randomBytes(32).toString('hex'),
  cookie: { secure: 'auto', sameSite: 'lax' },
  saveUninitialized: false
})
await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize })
await app.register(view, { engine: { eta: new Eta() }, templates: here('views') })
app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
  done(null, Object.fromEntries(new URLSearchParams(String(body))))
})

addSignIn(app, hash)

const messages = ['Hello from the first visitor']
const page = (reply: FastifyReply, name: string) => reply.view(name, { messages, closed: app.maintenance.active })

app.get('/', async (_request, reply) => page(reply, 'home'))

// never blocked
app.get('/about', { config: { maintenance: 'off' } }, async (_request, reply) => page(reply, 'about'))

// a form that writes: blocked in read-only mode, too, while pages can still be read
app.post<{ Body: { text?: string } }>('/messages', async (request, reply) => {
  const text = request.body?.text?.trim()
  if (text) messages.push(text.slice(0, 200))
  return reply.redirect('/', 303)
})

app.get('/api/messages', async () => ({ messages }))

// for the load balancer: ignored by the option above
app.get('/health', async () => ({ healthy: true, maintenance: app.maintenance.active }))

const port = Number(process.env.PORT ?? 3000)
const address = await app.listen({ port, host }).catch(error => {
  if (error.code !== 'EADDRINUSE') throw error
  console.error(`Port ${port} is in use. Choose another one: PORT=${port + 1} npm start`)
  process.exit(1)
})
const store = `file:${relative(process.cwd(), stateFile)}`

console.log(`
The site is open:   ${address}/
Always open:        ${address}/about
A JSON API:         ${address}/api/messages
Health check:       ${address}/health
The admin page:     ${address}/maintenance/   (password: ${process.env.ADMIN_PASSWORD_HASH === undefined ? 'maintenance' : 'yours'})

Close it, from a second terminal in this folder:

  npx fastify-maintenance on --store ${store} --message "Back in ten minutes" --for 10m

Open it again:

  npx fastify-maintenance off --store ${store}
`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => app.close())
