import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { storeContract } from '../lib/stores/contract.ts'
import { createConnector } from '../lib/stores/redis/connect.ts'
import { createRedisStore } from '../lib/stores/redis/redis-store.ts'
import { WRITE } from '../lib/stores/redis/script.ts'
import { createApp, retried, until } from './fixtures/app.ts'
import { Redis } from './fixtures/ioredis.ts'
import { storedWindow, textOf } from './fixtures/records.ts'
import { startFleet } from './fixtures/redis-fleet.ts'
import { callsOf, directory, startMute, startProxy, startRedis } from './fixtures/redis.ts'
import { boot, listening, separatePrefixes, startServer } from './fixtures/redis-apps.ts'

const server = await startRedis(t)
const own = separatePrefixes(server)

for (const { name, run } of storeContract(async () => {
  const { redis, prefix } = own()
  const connector = await createConnector(redis)
  return { connect: () => createRedisStore(connector, { prefix, sites: ['default'] }) }
})) t.test(`the contract: ${name}`, run)

t.test('5 servers, 200 switches: all follow', async t => {
  const store = own()
  // a simple page, because compressing the bundled ones in nine languages for five servers takes long
  const template = join(directory(t), 'page.eta')
  writeFileSync(template, 'closed')
  const servers = await Promise.all([1, 2, 3, 4, 5].map(() => boot(
    t,
    { ...store, pollInterval: 3_600_000 },
    { response: { template } }
  )))
  await listening(server.client, `${store.prefix}{default}:changes`, 5)
  const took: number[] = []
  for (let i = 0; i < 200; i++) {
    const begin = performance.now()
    const seen = Promise.all(servers.map(({ maintenance }) => new Promise<void>(resolve => {
      const remove = maintenance.onChange(status => {
        if (status.active !== (i % 2 === 0)) return
        took.push(performance.now() - begin)
        remove()
        resolve()
      })
    })))
    await retried(() => servers[i % 5]!.maintenance.set(i % 2 === 0))
    await seen
    if (i % 20 < 2) for (const { app } of servers) t.equal((await app.inject('/')).statusCode, i % 2 === 0 ? 503 : 404)
  }
  took.sort((a, b) => a - b)
  const at = (part: number): number => took[Math.floor(took.length * part)] as number
  t.comment(`set() and followed by a server: p50 ${at(0.5)
    .toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms, max ${took.at(-1)?.toFixed(1)} ms`)
  t.equal(took.length, 1000, 'by notifications, without a poll')
})

t.test('two operators at once', async t => {
  const store = own()
  const [one, two] = await Promise.all([boot(t, store), boot(t, store)])
  // each retries until its timeout: on a busy machine, some may fail, with an error
  const sets = await Promise.allSettled(
    Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? one : two).maintenance.set(true, { by: `operator ${i}` }))
  )
  const done = sets.flatMap(set => set.status === 'fulfilled' ? [set.value] : [])
  const revisions = done.map(status => status.revision)
  t.ok(sets.every(set => set.status === 'fulfilled' || /^FST_ERR_MAINTENANCE_STORE/.test(set.reason.code)))
  t.ok(done.length >= 2, `${done.length} of 30 were in time`)
  const history = await one!.maintenance.history()
  t.equal(new Set(history.map(entry => entry.by)).size, history.length, 'each once')
  for (const { by } of done) t.ok(history.some(entry => entry.by === by), `${by} was acknowledged`)
  t.ok(history.every((entry, i) => i === 0 || entry.revision < history[i - 1]!.revision), 'increasing')
  t.ok(revisions.every(revision => revision <= history[0]!.revision))
  await until(
    'both have the last change',
    () => [one, two].every(({ maintenance }) => maintenance.status().revision === history[0]!.revision)
  )

  // the same change, so that only the order distinguishes them
  const expectedRevision = history[0]!.revision
  const results = await Promise.allSettled(
    Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? one : two).maintenance.set(true, { expectedRevision }))
  )
  t.equal(results.filter(result => result.status === 'fulfilled').length, 1)
  t.ok(results.every(result => result.status === 'fulfilled' || result.reason.code === 'FST_ERR_MAINTENANCE_CONFLICT'))
  t.equal((await two!.maintenance.history()).length, history.length + 1)
})

t.test('history: the last 100, newest first, trimmed, for all servers', async t => {
  const store = own()
  const { maintenance } = await boot(t, store)
  const key = `${store.prefix}{default}:history`
  for (let i = 0; i < 120; i++) await maintenance.set(i % 2 === 0, { by: `operator ${i}` })
  const { maintenance: other } = await boot(t, store)
  const entries = await other.history()
  t.strictSame(entries.map(entry => entry.by), Array.from({ length: 100 }, (_, i) => `operator ${119 - i}`))
  t.match(entries[0], { kind: 'opened', at: /Z$/ })
  t.equal(await server.client.llen(key), 100)
  t.strictSame((await other.history({ limit: 3 })).map(entry => entry.by), [
    'operator 119', 'operator 118', 'operator 117'
  ])
  await server.client.set(key, 'something else')
  await t.rejects(other.history(), { code: 'FST_ERR_MAINTENANCE_STORE', message: /WRONGTYPE/ })
  await maintenance.set(true)
  t.equal((await other.history()).length, 1, 'an invalid history starts over')
})

t.test('history: a repair does not duplicate an entry', async t => {
  const store = own()
  const { maintenance } = await boot(t, { ...store, pollInterval: 100 })
  await maintenance.set(true)
  await maintenance.set(false)
  await server.client.del(`${store.prefix}{default}`)
  await until('repaired', async () => await server.client.exists(`${store.prefix}{default}`) === 1)
  t.strictSame((await maintenance.history()).map(entry => entry.kind), ['opened', 'closed'])
})

t.test('several sites in one Redis and one server: a hint costs one read of its site', async t => {
  const own1 = await startRedis(t)
  const store = { redis: own1.url }
  const { app } = await createApp(t, {
    store: { ...store, pollInterval: 3_600_000 },
    site: request => String(request.headers['x-site']),
    sites: ['shop', 'blog', 'news']
  })
  app.get('/x', async () => 'open')
  await app.ready()
  const { maintenance } = app
  const { maintenance: shop } = await boot(t, { ...store, pollInterval: 3_600_000 }, { site: 'shop' })
  await until(
    'listens',
    async () => (await own1.client.pubsub('NUMSUB', 'fastify-maintenance:{shop}:changes') as [string, number])[1] === 2
  )
  await maintenance.for('blog').refresh()
  const before = maintenance.for('blog').status().store.lastReadAt
  // the reads from boot are done
  let calls = -1
  await until('quiet', async () => calls === (calls = await callsOf(own1.client, 'hmget')))
  await own1.client.config('RESETSTAT')
  await shop.set(true)
  await until('followed', () => maintenance.for('shop').active)
  const reads = await callsOf(own1.client, 'hmget')
  // set: one read, one by the script, and one by each of the two servers for the hint
  t.equal(reads, 4)
  t.equal(maintenance.for('blog').status().store.lastReadAt, before, 'another site is not read')
  for (const [site, code] of [['shop', 503], ['blog', 200], ['news', 200]] as const) {
    t.equal((await app.inject({ url: '/x', headers: { 'x-site': site } })).statusCode, code)
  }
  // the watchdogs of both connections have their own timers
  await until('quiet', async () => calls === (calls = await callsOf(own1.client, 'hmget')))
  await own1.client.config('RESETSTAT')
  for (let i = 0; i < 1000; i++) await app.inject({ url: '/x', headers: { 'x-site': 'shop' } })
  const calls1000 = await callsOf(own1.client, 'hmget') + await callsOf(own1.client, 'subscribe')
  t.ok(calls1000 < 100, `a request costs Redis nothing: ${calls1000} for 1,000, from the watchdogs`)
  t.equal((await own1.client.pubsub('CHANNELS') as string[]).length, 3)
})

t.test('1,000 sites are polled in a few round trips', async t => {
  const proxy = await startProxy(t, server.port)
  const sites = Array.from({ length: 1000 }, (_, i) => `site${i}`)
  const { prefix } = own()
  const { followers, stop } = await startFleet({ redis: proxy.url, prefix, sites, pollInterval: 1000 })
  t.teardown(stop)
  const reads = () => followers.map(({ health }) => health.lastReadAt).sort()
  await until('booted', () => reads()[0] !== null)
  await listening(server.client, `${prefix}{site999}:changes`, 1)
  // the reads after boot are done once two samples are equal; the next ones are a poll
  let chunks = -1
  await until('quiet', () => new Promise(resolve => setTimeout(() => resolve(chunks === (chunks = proxy.chunks)), 100)))
  const [last] = reads().reverse()
  await until('polled', () => String(reads()[0]) > String(last))
  t.comment(`${proxy.chunks - chunks} chunks for 1,000 reads`)
  t.ok(proxy.chunks - chunks <= 10)
  t.equal(proxy.open, 2)

  // a network may merge small chunks, so they are counted before they are sent
  const client = (await createConnector(server.url)).connect() as Redis
  const store = createRedisStore({ keyPrefix: '', connect: () => client }, { prefix, sites: [] })
  t.teardown(() => store.close())
  await store.read('site0')
  let writes = 0
  const { write } = client.stream
  client.stream.write = (...args: unknown[]) => {
    writes++
    return Reflect.apply(write, client.stream, args)
  }
  await Promise.all(sites.map(site => store.read(site)))
  t.ok(writes <= 3, `${writes} writes`)
})

t.test('each connection gives a hint when it reconnects, as it has missed messages', async t => {
  const own1 = await startRedis(t)
  const store = createRedisStore(await createConnector(own1.url), { prefix: '', sites: ['x'] })
  t.teardown(() => store.close())
  let hints = 0
  await store.watch(() => { hints++ })
  await store.read('x')
  for (const type of ['normal', 'pubsub']) {
    hints = 0
    await own1.client.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
    await until(`a hint after ${type}`, () => hints > 0)
  }
  t.pass('both')
})

t.test('1,000 sites wait as one while Redis is down', async t => {
  const warnings: string[] = []
  const onWarning = (warning: Error): void => { warnings.push(warning.message) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const mute = await startMute(t)
  const sites = Array.from({ length: 1000 }, (_, i) => `site${i}`)
  for (const port of [1, mute.port]) {
    const { followers, stop } = await startFleet({
      redis: `redis://127.0.0.1:${port}`, prefix: own().prefix, sites, pollInterval: 200
    })
    await Promise.all(followers.map(follower => follower.refresh()))
    t.ok(followers.every(({ health }) => /no connection/.test(health.error ?? '')))
    await stop()
  }
  t.strictSame(warnings, [])
})

t.test('20,000 hints in a burst: at most 10 reads', async t => {
  const own1 = await startRedis(t)
  const { maintenance } = await boot(t, { redis: own1.url, pollInterval: 3_600_000 })
  const channel = 'fastify-maintenance:{default}:changes'
  await listening(own1.client, channel, 1)
  let calls = -1
  await until('quiet', async () => calls === (calls = await callsOf(own1.client, 'hmget')))
  await own1.client.config('RESETSTAT')
  await own1.client.eval(`for i = 1, 20000 do redis.call('PUBLISH', '${channel}', i) end`, 0)
  await own1.client.hset('fastify-maintenance:{default}', { rev: 5, record: textOf([storedWindow()], { revision: 5 }) })
  await own1.client.publish(channel, 'last')
  await until('followed', () => maintenance.active)
  const reads = await callsOf(own1.client, 'hmget')
  t.comment(`${reads} reads`)
  t.ok(reads >= 1 && reads <= 10, `${reads} reads`)
})

t.test('a mirror is written on change, read at boot while Redis is down, and repairs an emptied Redis', async t => {
  const own1 = await startRedis(t)
  const mirror = join(directory(t), 'mirror.json')
  const store = { redis: own1.url, mirror, pollInterval: 200 }
  const running = await boot(t, store)
  const sharing = await boot(t, store)
  await listening(own1.client, 'fastify-maintenance:{default}:changes', 2)
  const { revision } = await running.maintenance.set(true, { message: 'kept' })
  const kept = () => JSON.parse(JSON.parse(readFileSync(mirror, 'utf8')).sites.default.record)
  await until('mirrored', () => { try { return kept().revision === revision } catch { return false } })
  t.match(kept(), { windows: [{ message: 'kept' }] })
  await until('followed', () => sharing.maintenance.active)
  await Promise.all([running.app.close(), sharing.app.close()])
  await own1.kill()

  const away = await boot(t, store)
  t.match(away.maintenance.status(), {
    active: true,
    message: 'kept',
    revision,
    source: 'mirror',
    store: { kind: 'redis', connected: false, error: /ECONNREFUSED/ }
  })
  t.equal((await away.app.inject('/')).statusCode, 503)
  await own1.start()
  await until('restored', async () => JSON.parse(
    await own1.client.hget('fastify-maintenance:{default}', 'record') ?? '{}'
  ).revision === revision)
  await until('read from the store', () => away.maintenance.status().source === 'store')
  t.ok(away.lines.some(line => /repaired the record of site 'default'/.test(line.msg)))
  t.notOk([
    ...running.lines, ...sharing.lines, ...away.lines
  ].some(line => /mirror/.test(line.msg)), 'nothing is logged')
})

t.test('a mirror that cannot be read or written is a warning', async t => {
  const place = directory(t)
  const garbled = join(place, 'garbled.json')
  writeFileSync(garbled, 'garbage')
  for (const mirror of [place, garbled]) {
    const { maintenance, lines } = await boot(t, { ...own(), mirror })
    await maintenance.set(true)
    t.match(maintenance.status(), { active: true, store: { error: null } })
    if (mirror === garbled) await until('repaired', () => readFileSync(garbled, 'utf8').includes('sites'))
    for (const words of mirror === garbled ? ['read'] : ['read', 'written']) {
      await until('logged', () => lines.some(
        line => line.level === 40 && line.msg.includes(`the mirror of site 'default' cannot be ${words}`)
      ))
    }
  }
})

t.test("clocks five minutes apart: Redis's clock counts", async t => {
  const minutes = 5 * 60_000
  for (const shift of [-minutes, minutes]) {
    const store = own()
    const [right, wrong] = await Promise.all([
      boot(t, store), startServer(t, { store }, { shift, preload: ['clock-ahead.mjs'] })
    ])
    await listening(server.client, `${store.prefix}{default}:changes`, 2)
    const { value } = await wrong!.ask('set', true)
    t.ok(Math.abs(value.revision - Date.now()) < 60_000, `a clock ${shift / 1000} s off`)
    await until('followed', () => right!.maintenance.active)
    const { revision } = await right!.maintenance.set(false)
    await until('the other server follows', async () => (await wrong!.ask('status')).value.revision === revision)
    // a new server after a loss: the later write wins, whatever its clock
    await server.client.del(`${store.prefix}{default}`)
    t.equal((await wrong!.ask('set', true)).value.active, true)
    await until('wins', () => right!.maintenance.active)
  }
})

t.test('lease renewals are no transitions, and are not in the history', async t => {
  const { redis, prefix } = own()
  const { app } = await createApp(t, { store: { redis, prefix } })
  let changes = 0
  app.maintenance.onChange(() => { changes++ })
  const leases = new Set<string | null | undefined>()
  await app.maintenance.run(() => until('renewed twice', () => leases.add(
    app.maintenance.status().windows[0]?.lease
  ).size === 3), { lease: 1000 })
  t.equal(changes, 2)
  t.strictSame(
    (await app.maintenance.history()).map(entry => [entry.kind, entry.ended]),
    [['run', true], ['run', false]]
  )
})

t.test('the script: a write that a cluster client sends twice is done once', async t => {
  const { prefix } = own()
  const write = (token: string) => server.client.eval(
    WRITE,
    2,
    `${prefix}{x}`,
    `${prefix}{x}:history`,
    'text',
    5,
    0,
    'c',
    Date.now(),
    Date.now() + 1000,
    token
  )
  t.equal(await write('one'), -1)
  t.equal(await write('one'), -1, 'the same write')
  t.equal(await write('two'), 5, 'another write with the same expectation')
  t.equal(await server.client.llen(`${prefix}{x}:history`), 1)
})

t.test("a cluster whose nodes' clocks differ: a write is late by none of them", async t => {
  const { redis, prefix } = own()
  const wrong = new Redis(redis)
  t.teardown(() => wrong.disconnect())
  // as another node reports it
  wrong.time = async () => [Math.round(Date.now() / 1000) - 300, 0]
  const store = createRedisStore({ keyPrefix: '', connect: () => wrong }, { prefix, sites: [] })
  await store.read('x')
  t.ok(Number(store.now?.()) < Date.now() - 200_000)
  await store.write('x', 'text', { revision: 5, expectedRevision: 0 })
  t.equal(await store.read('x'), 'text')
  t.ok(Math.abs(Number(store.now?.()) - Date.now()) < 60_000)
})
