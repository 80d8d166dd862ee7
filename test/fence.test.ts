import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createFence, instant } from '../lib/servers/fence.ts'
import { createApp, startApp, until } from './fixtures/app.ts'
import { sharedStore } from './fixtures/store.ts'
import { listen } from './fixtures/requests.ts'

t.jobs = 4

t.test('a fence is up until the first contact, by two clocks, and down only after a read', { buffered: false }, async t => {
  const warnings: string[] = []
  const fence = createFence({ after: 1000 }, { info () {}, warn: (text: string) => { warnings.push(text) } } as never)
  const changes: boolean[] = []
  fence.onChange(() => changes.push(fence.isUp))
  fence.lower()
  t.equal(fence.check(), true, 'no contact yet')
  fence.extend(instant())
  t.equal(fence.check(), true, 'no read yet')
  fence.lower()
  t.equal(fence.check(), false)
  await sleep(600)
  fence.extend(instant())
  await sleep(600)
  t.equal(fence.check(), false, 'extended')
  await until('it goes up without a request', () => fence.isUp)
  for (const clock of [performance, Date]) {
    fence.extend(instant())
    fence.lower()
    t.equal(fence.check(), false)
    const { now } = clock
    clock.now = () => now.call(clock) + 2000
    t.equal(fence.check(), true, 'a pause by only one clock')
    clock.now = now
  }
  fence.close()
  t.strictSame(changes, [false, true, false, true, false, true])
  t.equal(warnings.length, 3)
})

t.test('a fenced server closes itself, logs it, and opens once others see it again', { buffered: true }, async t => {
  const store = sharedStore()
  const { app, lines } = await createApp(t, { store, fence: { after: '2s' } })
  app.get('/', async () => 'open')
  app.get('/off', { config: { maintenance: 'off' } }, async () => 'always')
  await app.ready()
  const status = async (url = '/') => (await app.inject(url)).statusCode
  await until('open', async () => await status() === 200)
  t.ok(lines.some(
    ({ msg }) => /closes itself after 2000 ms without contact to the store: losing the store closes the site/.test(msg)
  ))
  const [id = ''] = store.entries.keys()
  t.equal(store.get(id)?.fence, 2000)
  store.broken.heartbeat = true
  await until('closed', async () => await status() === 503)
  t.equal(await status('/off'), 200)
  t.match(app.maintenance.status(), { active: true, mode: 'full', source: 'fenced' })
  // others close the site; this one must not open before it has read the change
  store.broken.read = true
  store.broken.heartbeat = false
  await until('others see it again', () => store.get(id)?.sites[0]?.active === true)
  await sleep(1000)
  t.equal(await status(), 503)
  store.broken.read = false
  await until('open again', async () => await status() === 200)
  t.match(app.maintenance.status(), { active: false, source: 'store' })
  t.match(await app.maintenance.set(true, { wait: '20s' }), { active: true, source: 'store' })
  t.match(await app.maintenance.set(false, { wait: '20s' }), { active: false })
})

t.test('a fenced server that was frozen blocks the first request, and catches up', { buffered: false }, async t => {
  const store = sharedStore()
  const { app } = await createApp(t, { store, fence: {} })
  app.get('/', async () => 'open')
  await app.ready()
  t.equal((await app.inject('/')).statusCode, 200)
  const { now } = performance
  t.teardown(() => { performance.now = now })
  performance.now = () => now.call(performance) + 13_000
  t.equal((await app.inject('/')).statusCode, 503)
  performance.now = now
  await app.maintenance.set(true)
  await until('the fence is down', () => app.maintenance.status().source === 'store')
  t.equal((await app.inject('/')).statusCode, 503)
})

t.test('the option fence: invalid values', { buffered: true }, async t => {
  for (const [options, text] of [
    [
      { fence: {} },
      /option 'fence' needs a store that keeps servers, and the store 'memory' is known to this process only/
    ],
    [{
      fence: {}, store: { ...sharedStore(), heartbeats: undefined }
    }, /this store has no heartbeat\(\) and heartbeats\(\)/],
    [{ fence: { after: '15s' }, store: sharedStore() }, /fence\.after/],
    [{ fence: true, store: sharedStore() }, /fence/]
  ] as const) await t.rejects(createApp(t, options as object), { code: 'FST_ERR_MAINTENANCE_OPTION', message: text })
  const { app } = await startApp(t, sharedStore(), { fence: {}, pinned: 'open' })
  t.match(app.maintenance.status(), { active: false, source: 'pinned' }, 'a pinned server has none')
})

t.test('a process that was frozen reads the state before it answers a new connection', { buffered: false }, async t => {
  const store = sharedStore()
  // it gets no hints
  let held: (() => void)[] | null = null
  /** The test decides when a read arrives. */
  const read = async (site: string) => {
    const record = await store.read(site)
    if (held !== null) await new Promise<void>(resolve => { held?.push(resolve) })
    return record
  }
  const { app } = await createApp(t, { store: { ...store, read, watch () {} } })
  app.get('/', async () => 'open')
  app.get('/off', { config: { maintenance: 'off' } }, async () => 'always')
  const port = await listen(app)
  const statusOf = async (path: string) => (await fetch(
    `http://127.0.0.1:${port}${path}`,
    { headers: { connection: 'close' } }
  )).status
  const other = await startApp(t, store)
  await other.app.maintenance.set(true)
  t.equal(await statusOf('/'), 200)
  const { now } = performance
  t.teardown(() => { performance.now = now })
  performance.now = () => now.call(performance) + 6000
  t.equal(await statusOf('/'), 503)
  performance.now = () => now.call(performance) + 12_000
  t.equal(await statusOf('/off'), 200)
  performance.now = now
  await other.app.maintenance.set(false)
  store.broken.read = true
  performance.now = () => now.call(performance) + 24_000
  t.equal(await statusOf('/'), 503, 'the last known state is kept if nothing can be read')
  store.broken.read = false
  const reads: (() => void)[] = held = []
  const arrived = async () => {
    const status = statusOf('/')
    await once(app.server, 'request')
    return { status }
  }
  performance.now = () => now.call(performance) + 36_000
  const first = await arrived()
  performance.now = () => now.call(performance) + 48_000
  const second = await arrived()
  await other.app.maintenance.set(true)
  await until('the first read has begun', () => reads.length === 1)
  reads[0]?.()
  t.equal(await first.status, 200, 'the site was open at that read')
  await until('the second read has begun', () => reads.length === 2)
  const third = await arrived()
  reads[1]?.()
  t.strictSame(
    [await second.status, await third.status],
    [503, 503],
    'a read for an earlier freeze does not let them through'
  )
  held = null
  performance.now = now
})
