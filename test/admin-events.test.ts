import { connect, type AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createEvents } from '../lib/admin/events.ts'
import type { MaintenanceStatus } from '../types/index.ts'
import { createApp, until, stateFile } from './fixtures/app.ts'
import { adminApp, PROTECTED } from './fixtures/admin.ts'

/** The events of a stream, as they arrive. */
async function listen (t: Test, app: FastifyInstance) {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const stream = {
    text: '',
    ended: false,
    socket,
    states: () => [
      ...stream.text.matchAll(/^event: state\ndata: (.*)\n\n/gm)
    ].map(([, json]) => JSON.parse(json as string).sites as MaintenanceStatus[])
  }
  socket.on('data', chunk => { stream.text += chunk })
  socket.on('close', () => { stream.ended = true })
  // HTTP/1.0: an answer without chunk sizes
  socket.write('GET /maintenance/events HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n')
  await until('the state comes', () => stream.text.includes('\n\n'))
  return stream
}

t.test('events: the state at once, then each change, also from the command; closing ends them', async t => {
  const file = stateFile(t)
  const app = await adminApp(t, { store: { file }, sites: ['default', 'blog'] }, {}, { forceCloseConnections: false })
  const stream = await listen(t, app)
  t.match(
    stream.text,
    /^HTTP\/1.1 200[^]*content-type: text\/event-stream[^]*\r\n\r\nretry: \d+\nevent: state\ndata: {"sites":\[{"site":"default"/i
  )
  for (const [name, value] of Object.entries(PROTECTED)) {
    t.match(stream.text.toLowerCase(), typeof value === 'string' ? `${name}: ${value.toLowerCase()}` : value, name)
  }
  await until('the first state', () => stream.states().length === 1)

  const { main } = await import('../lib/cli/main.ts')
  const io = { out () {}, err () {} }
  const started = performance.now()
  t.equal(await main(['on', 'blog', '--store', `file:${file}`, '--message', 'from the\ncommand line'], {}, io), 0)
  await until('the change arrives', () => stream.states().length > 1)
  t.comment(`a change by the command arrived after ${Math.round(performance.now() - started)} ms`)
  t.match(stream.states()[1], [
    { site: 'default', active: false }, { site: 'blog', active: true, message: 'from the\ncommand line' }
  ])

  await app.maintenance.set(true, { startsAt: new Date(Date.now() + 300), endsAt: new Date(Date.now() + 600) })
  await until('the window began and ended', () => stream.states().length === 5)
  t.strictSame(
    stream.states().map(([site]) => site?.active),
    [false, false, false, true, false],
    'one event per change'
  )
  t.equal(app.maintenance.status().inFlight, 0, 'a drain does not wait for these streams')

  const second = await listen(t, app)
  second.socket.destroy()
  const closing = app.close()
  await until('the stream ends', () => stream.ended)
  await closing
})

t.test('events: heartbeat, lifetime, limit; a client that does not read is cut off', async t => {
  const { app } = await createApp(t)
  const limits = { heartbeat: 20, lifetime: 60_000, streams: 1, backlog: 1024 * 1024 }
  const quick = createEvents(app.maintenance, limits)
  const short = createEvents(app.maintenance, { ...limits, heartbeat: 1000, lifetime: 50 })
  const full = createEvents(app.maintenance, { ...limits, backlog: -1 })
  t.teardown(() => [quick, short, full].forEach(events => events.close()))
  let events = quick
  app.get('/maintenance/events', (request, reply) => events.open(request, reply))
  const stream = await listen(t, app)
  await until('a heartbeat', () => stream.text.includes('\n\n: \n\n'))
  t.match(await app.inject('/maintenance/events'), {
    statusCode: 503, headers: { 'retry-after': '10' }, body: /1 streams are open already/
  })
  stream.socket.destroy()
  await until('its slot is free', async () => {
    const answer = await app.inject({ url: '/maintenance/events', method: 'HEAD' })
    return answer.statusCode === 200
  })
  events = short
  const ended = await listen(t, app)
  await until('its lifetime ends', () => ended.ended)
  events = full
  const slow = await listen(t, app)
  await app.maintenance.set(true)
  await until('it is cut off', () => slow.ended)
})
