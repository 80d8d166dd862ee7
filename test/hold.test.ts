import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter, once } from 'node:events'
import { mock } from 'node:test'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance, FastifyReply } from 'fastify'
import t from 'tap'
import maintenance from '../index.ts'
import { createHold } from '../lib/hold-queue.ts'
import { bareApp, counter, createApp, until } from './fixtures/app.ts'

/** Opens connections and sends a request on each; `with` counts the answers so far. */
function sendMany (app: FastifyInstance, count: number) {
  const { port } = app.server.address() as AddressInfo
  const clients = Array.from({ length: count }, () => {
    const socket = connect(port, '127.0.0.1')
    const client = { socket, answer: '' }
    socket.on('data', chunk => { client.answer += chunk })
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    return client
  })
  return {
    clients,
    with: (status: number) => clients.filter(({ answer }) => answer.startsWith(`HTTP/1.1 ${status}`)).length
  }
}

t.test('hold: 1,000 requests wait through a switch of 3 s, and none is blocked or lost; the next one is blocked at once', async t => {
  const { app } = await createApp(t, { ignore: { routes: '/health' } }, { disableRequestLogging: true })
  const run = counter()
  let inHandler = 0
  let most = 0
  app.get('/', async () => {
    await run()
    most = Math.max(most, ++inHandler)
    await new Promise(resolve => setImmediate(resolve))
    inHandler--
    return 'open'
  })
  app.get('/health', async () => 'well')
  await app.listen({ port: 0, host: '127.0.0.1' })
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const heap = () => {
    gc()
    return process.memoryUsage().heapUsed
  }
  const before = heap()
  const begin = Date.now()
  await app.maintenance.set(true, { mode: 'hold' })
  const waiting = sendMany(app, 1000)
  await until('all wait', () => app.maintenance.status().held === 1000)
  t.equal((await app.inject('/')).statusCode, 503, 'no slot is left')
  t.equal((await app.inject('/health')).body, 'well', 'ignored routes are never held')
  t.equal(run.runs, 0)
  await until('3 s have passed', () => Date.now() - begin > 3000)
  t.equal(waiting.with(503), 0)
  await app.maintenance.set(false)
  await until('all are answered', () => waiting.with(200) === 1000)
  t.equal(run.runs, 1000)
  t.ok(most <= 100, `released in batches: at most ${most} at a time`)
  t.match(app.maintenance.status().counts, { blocked: 1 })
  for (const { socket } of waiting.clients) socket.destroy()
  t.equal(app.maintenance.status().held, 0)
  await until('the heap is back to its size', () => heap() - before < 5e6)
})

t.test('hold: blocked after the timeout, when the mode changes, and when the server closes', async t => {
  const { app } = await createApp(t, { hold: { max: 10, timeout: 2000 } })
  const run = counter()
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold', message: 'a moment' })
  const begin = Date.now()
  const late = await app.inject('/')
  t.ok(Date.now() - begin >= 1990)
  t.match(late, { statusCode: 503, headers: { 'maintenance-mode': 'full' } })
  t.equal(late.json().message, 'a moment')
  const closing = sendMany(app, 3)
  await until('they are held', () => app.maintenance.status().held === 3)
  await app.maintenance.set(true, { mode: 'full' })
  await until('blocked', () => closing.with(503) === 3)
  const slow = await createApp(t, { hold: { timeout: 60_000 } }, { forceCloseConnections: 'idle' })
  await slow.app.listen({ port: 0, host: '127.0.0.1' })
  await slow.app.maintenance.set(true, { mode: 'hold' })
  const last = sendMany(slow.app, 2)
  await until('they are held', () => slow.app.maintenance.status().held === 2)
  await slow.app.close()
  await until('blocked', () => last.with(503) === 2)
  t.equal(run.runs, 0)
})

t.test('hold: a client that hangs up frees its slot; the deadline is kept through changes', async t => {
  const { app } = await createApp(t, { hold: { max: 2, timeout: 60_000 } })
  app.get('/', async () => 'open')
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const first = sendMany(app, 2)
  await until('they are held', () => app.maintenance.status().held === 2)
  t.equal((await app.inject('/')).statusCode, 503)
  for (const { socket } of first.clients) socket.destroy()
  await until('none is held', () => app.maintenance.status().held === 0)
  const second = sendMany(app, 2)
  await until('they are held', () => app.maintenance.status().held === 2)
  t.equal(second.with(503), 0)
  await app.maintenance.set(true, { mode: 'hold', message: 'still' })
  await app.maintenance.set(false)
  await until('answered', () => second.with(200) === 2)
})

t.test('hold: pipelined requests, and HTTP/2', async t => {
  const { app } = await createApp(t)
  app.get('/:n', async request => (request.params as { n: string }).n)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let answer = ''
  socket.on('data', chunk => { answer += chunk })
  t.teardown(() => socket.destroy())
  socket.write([1, 2, 3].map(n => `GET /${n} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''))
  await until('they are held', () => app.maintenance.status().held === 3)
  await app.maintenance.set(false)
  await until('all are answered', () => answer.match(/HTTP\/1\.1 200/g)?.length === 3)
  t.strictSame(answer.match(/\r\n\r\n\d/g)?.map(body => body.trim()), ['1', '2', '3'])

  const two = bareApp(t, { http2: true, forceCloseConnections: false } as object)
  await two.app.register(maintenance)
  two.app.get('/:n', async request => (request.params as { n: string }).n)
  await two.app.listen({ port: 0, host: '127.0.0.1' })
  await two.app.maintenance.set(true, { mode: 'hold' })
  const client = connectHttp2(`http://127.0.0.1:${(two.app.server.address() as AddressInfo).port}`)
  t.teardown(() => client.close())
  const statuses: unknown[] = []
  for (const n of [1, 2]) {
    client.request({ ':path': `/${n}` }).on('response', headers => statuses.push(headers[':status'])).resume()
  }
  await until('they are held', () => two.app.maintenance.status().held === 2)
  await two.app.maintenance.set(false)
  await until('answered', () => statuses.length === 2)
  t.strictSame(statuses, [200, 200])
  client.close()
})

const user = new AsyncLocalStorage<string>()

/**
 * A closed application whose hooks and handlers note the async context they ran in, except for the admin's requests.
 */
async function notingApp (t: { teardown (work: () => unknown): void }, hold = {}) {
  const { app } = bareApp(t, { forceCloseConnections: 'idle', disableRequestLogging: true } as object)
  let notes = new Set<string>()
  const note = (part: string, { headers }: { headers: Record<string, unknown> }): void => {
    const [whose, current] = [headers['x-user'], user.getStore()]
    if (whose !== 'admin') notes.add(`${part}: ${current === whose ? 'own' : String(current)}`)
  }
  app.addHook('onRequest', (request, _reply, done) => user.run(String(request.headers['x-user']), done))
  await app.register(maintenance, {
    hold,
    ignore: { request: async request => { note('ignore.request', request); return false } },
    onBlocked: request => note('onBlocked', request)
  })
  app.addHook('preHandler', async request => note('preHandler', request))
  app.addHook('onSend', async request => note('onSend', request))
  app.get('/', async request => note('handler', request))
  app.post('/:mode', { config: { maintenance: 'off' } }, async request => {
    const { mode } = request.params as { mode: 'open' | 'full' }
    await (mode === 'open' ? app.maintenance.set(false) : app.maintenance.set(true, { mode }))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const { port } = app.server.address() as AddressInfo

  async function ask (name: string): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-user': name } })
    await answer.text()
    return answer.status
  }

  return {
    app,
    setAsAdmin: (mode: 'open' | 'full') => app.inject({
      method: 'POST', url: `/${mode}`, headers: { 'x-user': 'admin' }
    }),
    /** Holds requests, ends the wait, and returns their statuses and the notes from after the wait. */
    async outcome (count: number, endWait: () => unknown): Promise<{ statuses: number[], notes: string[] }> {
      const answers = Array.from({ length: count }, (_, i) => ask(`user ${i}`))
      await until('all wait', () => app.maintenance.status().held === count)
      notes = new Set()
      await endWait()
      return { statuses: [...new Set(await Promise.all(answers))], notes: [...notes].sort() }
    }
  }
}

t.test('hold: each request resumes in its own async context, whatever ends the wait', { buffered: true }, async t => {
  const BLOCKED = { statuses: [503], notes: ['onBlocked: own'] }
  const { app, outcome, setAsAdmin } = await notingApp(t)
  // more than one batch: a timer releases the others
  t.strictSame(await outcome(120, () => setAsAdmin('open')), {
    statuses: [200], notes: ['handler: own', 'onSend: own', 'preHandler: own']
  })
  await app.maintenance.set(true, { mode: 'hold' })
  t.strictSame(await outcome(3, () => setAsAdmin('full')), {
    statuses: [503], notes: ['ignore.request: own', 'onBlocked: own']
  })
  await app.maintenance.set(true, { mode: 'hold' })
  t.strictSame(await outcome(3, () => user.run('closer', () => app.close())), BLOCKED)
  const short = await notingApp(t, { timeout: 2000 })
  t.strictSame(await short.outcome(3, () => {}), BLOCKED, 'after the timeout')
})

/** Sends requests over one connection without waiting for the answers. */
function pipeline (app: FastifyInstance, count: number, path = '/'): Socket {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {}).resume()
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(count))
  return socket
}

t.test('hold: pipelined requests free their slots once their client hangs up, however it does', async t => {
  const warnings: string[] = []
  const warn = ({ message }: Error): void => { warnings.push(message) }
  process.on('warning', warn)
  t.teardown(() => process.off('warning', warn))
  const { app } = await createApp(t, { hold: { max: 40, timeout: 60_000 } })
  const run = counter()
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const held = (count: number) => until(`${count} are held`, () => app.maintenance.status().held === count)
  const HANG_UPS: ((socket: Socket) => unknown)[] = [
    socket => socket.destroy(), socket => socket.resetAndDestroy(), socket => socket.end()
  ]
  for (const hangUp of HANG_UPS) {
    // two connections take all slots, and their clients hang up at the same time
    const sockets = [pipeline(app, 20), pipeline(app, 20)]
    await held(40)
    sockets.forEach(hangUp)
    await held(0)
  }
  const stays = pipeline(app, 10)
  const leaves = pipeline(app, 30)
  await held(40)
  t.equal((await app.inject('/')).statusCode, 503, 'never more than max')
  leaves.destroy()
  await held(10)
  await app.maintenance.set(false)
  await until('answered', () => run.runs === 10)
  await app.maintenance.set(true)
  await app.maintenance.drained({ timeout: 60_000 })
  t.match(app.maintenance.status(), { held: 0, inFlight: 0, counts: { blocked: 1 } })
  t.equal(run.runs, 10, 'no new decision')
  t.strictSame(warnings, [], 'one listener per connection')
  stays.destroy()
})

t.test('hold: pipelined behind a request that is still running', async t => {
  const { app } = await createApp(t)
  const run = counter()
  let answer = (): void => {}
  app.get('/slow', () => new Promise<string>(resolve => { answer = () => resolve('slow') }))
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = pipeline(app, 1, '/slow')
  await until('it runs', () => app.maintenance.status().inFlight === 1)
  await app.maintenance.set(true, { mode: 'hold' })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(5))
  await until('held', () => app.maintenance.status().held === 5)
  socket.destroy()
  await until('free', () => app.maintenance.status().held === 0)
  t.equal(app.maintenance.status().inFlight, 1, 'its handler still runs')
  answer()
  await app.maintenance.drained({ timeout: 60_000 })
  await app.maintenance.set(false)
  t.equal(run.runs, 0)
})

t.test('hold: over HTTP/2, a reset stream and a lost session free their slots', async t => {
  const { app } = bareApp(t, { http2: true, forceCloseConnections: false } as object)
  await app.register(maintenance, { hold: { timeout: 60_000 } })
  const run = counter()
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const client = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`).on('error', () => {})
  t.teardown(() => client.destroy())
  const streams = Array.from({ length: 20 }, () => client.request({ ':path': '/' }).on('error', () => {}).resume())
  await until('held', () => app.maintenance.status().held === 20)
  for (const stream of streams.slice(0, 5)) stream.close(8)
  await until('15 are left', () => app.maintenance.status().held === 15)
  client.destroy()
  await until('none is left', () => app.maintenance.status().held === 0)
  await app.maintenance.set(false)
  t.equal(run.runs, 0)
})

t.test('hold: a request takes no slot if its client hangs up before ignore.request answers', async t => {
  const asked: ((says: boolean) => void)[] = []
  const { app } = await createApp(t, {
    ignore: { request: () => new Promise<boolean>(resolve => { asked.push(resolve) }) }, hold: { timeout: 300 }
  })
  const run = counter()
  app.get('/', run)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const closed = once(app.server, 'connection').then(([connection]) => once(connection, 'close'))
  const socket = pipeline(app, 1)
  await until('asked', () => asked.length === 1)
  socket.destroy()
  await closed
  asked[0]?.(false)
  await new Promise(resolve => setTimeout(resolve, 600))
  t.match(app.maintenance.status(), { held: 0, counts: { blocked: 0 } })
  t.equal(run.runs, 0)
})

t.test('hold: no request is held once the server is closing', async t => {
  const { app } = await createApp(t, { hold: { timeout: 60_000 } }, {
    forceCloseConnections: false, return503OnClosing: false
  })
  const running: (() => void)[] = []
  app.get('/slow', { config: { maintenance: 'off' } }, () => new Promise<string>(
    resolve => { running.push(() => resolve('slow')) }
  ))
  app.get('/', counter())
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true, { mode: 'hold' })
  const socket = pipeline(app, 1, '/slow')
  await until('it runs', () => running.length === 1)
  const closing = app.close()
  await until('the server accepts no more connections', () => !app.server.listening)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await until('blocked', () => app.maintenance.status().counts.blocked === 1)
  running[0]?.()
  await closing
})

/** A reply whose client has not hung up yet. */
function fakeReply () {
  const socket = Object.assign(new EventEmitter(), { destroyed: false })
  const raw = Object.assign(new EventEmitter(), { destroyed: false, destroy () { raw.destroyed = true } })
  const errors: unknown[] = []
  return {
    raw,
    socket,
    errors,
    sent: false,
    request: { raw: { socket } },
    log: {
      error ({ err }: { err: Error }) { errors.push(err.message) }
    }
  }
}

t.test('hold: a request that fails affects neither the others nor the process, and its client gets an answer', t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const counts = { blocked: 0, ignored: 0, held: 0 }
  const hold = createHold({ max: 100, timeout: 5000 })
  let held = true
  const ran: string[] = []

  function add (name: string, reply = fakeReply()) {
    const work = (what: string) => () => {
      ran.push(`${name} ${what}`)
      if (name === 'answered, and throws') reply.sent = true
      if (name.includes('throw')) throw new Error(name)
    }
    t.equal(hold.add(reply as unknown as FastifyReply, counts, () => held, work('again'), work('blocked')), true)
    return reply
  }
  const throwing = add('throwing')
  const answered = add('answered, and throws')
  const [hungUp, resetNow, elsewhere] = [
    'hung up', 'reset a moment ago', 'answered elsewhere'
  ].map(name => add(name)) as [ReturnType<typeof fakeReply>, ReturnType<typeof fakeReply>, ReturnType<typeof fakeReply>]
  add('last')
  hungUp.socket.emit('close')
  hungUp.raw.emit('close')
  t.equal(counts.held, 5, 'freed once')
  resetNow.socket.destroyed = true
  elsewhere.sent = true
  held = false
  hold.update()
  t.strictSame(ran, ['throwing again', 'answered, and throws again', 'last again'])
  t.strictSame([throwing.errors, throwing.raw.destroyed], [['throwing'], true])
  t.strictSame([answered.errors, answered.raw.destroyed], [['answered, and throws'], false])
  t.equal(counts.held, 0)

  held = true
  ran.length = 0
  const late = add('throwing')
  mock.timers.tick(5000)
  t.strictSame([ran, late.raw.destroyed], [['throwing blocked'], true], 'after its timeout')

  ran.length = 0
  for (let i = 0; i < 60; i++) add(`${i}`)
  held = false
  hold.update()
  t.equal(ran.length, 50)
  hold.close()
  t.equal(ran.filter(name => name.endsWith('blocked')).length, 10, 'closing between two batches')
  hold.update()
  mock.timers.tick(60_000)
  t.equal(ran.length, 60, 'each ran once')
  t.equal(hold.add(fakeReply() as unknown as FastifyReply, counts, () => true, () => {}, () => {}), false)
  const gone = fakeReply()
  gone.socket.destroyed = true
  t.equal(
    hold.add(gone as unknown as FastifyReply, counts, () => true, () => {}, () => {}),
    true,
    'nothing is left to do'
  )
  t.equal(counts.held, 0)
  t.end()
})
