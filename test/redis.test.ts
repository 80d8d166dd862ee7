import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fastifyRedis from '@fastify/redis'
import type { RedisOptions } from 'ioredis'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { main } from '../lib/cli/main.ts'
import { storeContract } from '../lib/stores/contract.ts'
import { createConnector } from '../lib/stores/redis/connect.ts'
import { reconnect, whenReady } from '../lib/stores/redis/ready.ts'
import { createRedisStore } from '../lib/stores/redis/redis-store.ts'
import { WRITE } from '../lib/stores/redis/script.ts'
import type { FastifyMaintenanceOptions, RedisStoreOptions } from '../types/index.ts'
import { bareApp, createApp, retried, until } from './fixtures/app.ts'
import { Cluster, hide, Redis } from './fixtures/ioredis.ts'
import { storedWindow, textOf } from './fixtures/records.ts'
import { startFleet } from './fixtures/redis-fleet.ts'
import { callsOf, startMute, startProxy, startRedis } from './fixtures/redis.ts'

const server = await startRedis(t)
const prefixes = (function * () { for (let i = 0; ; i++) yield `test${i}:` })()

/** A database of this file's Redis for one test only. */
const own = (): { redis: string, prefix: string } => ({ redis: server.url, prefix: prefixes.next().value as string })

async function boot (t: Test, store: RedisStoreOptions, options: FastifyMaintenanceOptions = {}) {
  const { app, lines } = await createApp(t, { store, ...options })
  await app.ready()
  return { app, lines, maintenance: app.maintenance }
}

/** Waits until its connection listens, so that it reads a change at once. */
async function listening (client: Redis, channel: string, count: number): Promise<void> {
  await until(
    `${count} listen to ${channel}`,
    async () => (await client.pubsub('NUMSUB', channel) as [string, number])[1] === count
  )
}

async function run (args: string[], env: NodeJS.ProcessEnv = {}) {
  let out = ''
  let err = ''
  const begin = Date.now()
  const code = await main(args, env, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err, took: Date.now() - begin }
}

function directory (t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'maintenance-redis-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A server in its own process. */
async function startServer (t: Test, options: FastifyMaintenanceOptions, { shift = 0, preload = [] as string[] } = {}) {
  const imports = ['tsx', ...['ioredis.ts', ...preload].map(name => new URL(`fixtures/${name}`, import.meta.url).href)]
  const child: ChildProcess = fork(new URL('fixtures/redis-server.ts', import.meta.url), [JSON.stringify(options)], {
    execArgv: imports.flatMap(name => ['--import', name]),
    env: {
      PATH: process.env.PATH,
      MAINTENANCE_IOREDIS: process.env.MAINTENANCE_IOREDIS,
      _TAPJS_PROCESSINFO_COVERAGE_: '0',
      SHIFT: String(shift)
    },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc']
  })
  let errors = ''
  child.stderr?.on('data', chunk => { errors += chunk })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const message = (): Promise<[{ value: any, error?: string }]> => Promise.race([
    once(child, 'message'), exited.then(() => { throw new Error(errors) })
  ]) as Promise<[{ value: any, error?: string }]>
  await message()
  async function ask (...question: unknown[]) {
    const answer = message()
    child.send(question)
    return (await answer)[0]
  }
  return { ask, exited }
}

for (const { name, run } of storeContract(async () => {
  const { redis, prefix } = own()
  const connector = await createConnector(redis)
  return { connect: () => createRedisStore(connector, { prefix, sites: ['default'] }) }
})) t.test(`the contract: ${name}`, run)

t.test('forms of a client: a URL, options, a client, with user, password, db and keyPrefix', async t => {
  const guarded = await startRedis(t, [], { password: 'the secret/#?' })
  await guarded.client.call('ACL', 'SETUSER', 'ops', 'on', '>p@ss:word', '~*', '&*', '+@all')
  const at = { host: '127.0.0.1', port: guarded.port }
  const client = new Redis({
    ...at, username: 'ops', password: 'p@ss:word', db: 2, keyPrefix: 'app:', stringNumbers: true, enableReadyCheck: true
  })
  const encoded = encodeURIComponent('the secret/#?')
  const plain = new Redis({ ...at, password: 'the secret/#?', protocol: 2 })
  t.teardown(() => { client.disconnect(); plain.disconnect() })
  const forms: Record<string, [redis: RedisStoreOptions['redis'], db: number, key: string]> = {
    'URL with a password': [
      `redis://:${encodeURIComponent('the secret/#?')}@127.0.0.1:${guarded.port}`, 0, 'm:{default}'
    ],
    'URL with user, password and db': [
      `redis://ops:${encodeURIComponent('p@ss:word')}@127.0.0.1:${guarded.port}/3`, 3, 'm:{default}'
    ],
    options: [{
      ...at, username: 'ops', password: 'p@ss:word', db: 4, keyPrefix: 'o:'
    } satisfies RedisOptions, 4, 'o:m:{default}'],
    '{ url } with other options': [
      { url: `redis://:${encoded}@127.0.0.1:${guarded.port}/6`, keyPrefix: 'u:' }, 6, 'u:m:{default}'
    ],
    'URL with options in it': [
      `redis://:${encoded}@127.0.0.1:${guarded.port}/7?keyPrefix=q:&enableOfflineQueue=true`, 7, 'q:m:{default}'
    ],
    'client with db and keyPrefix': [client, 2, 'app:m:{default}'],
    'client of the older protocol': [plain, 5, 'm:{default}']
  }
  await plain.select(5)
  for (const [name, [redis, db, key]] of Object.entries(forms)) {
    await t.test(name, async t => {
      const { maintenance: one } = await boot(t, { redis, prefix: 'm:' })
      const { maintenance: other, lines } = await boot(t, { redis, prefix: 'm:' })
      t.match(one.status(), { source: 'store', store: { kind: 'redis', connected: true, error: null } })
      await listening(guarded.client, `${key}:changes`, 2)
      await one.set(true, { message: name })
      await until('followed', () => other.status().message === name)
      t.match(other.status(), { active: true, source: 'store' })
      // a client that has selected another db is duplicated with its original one
      await guarded.client.select(name === 'client of the older protocol' ? 0 : db)
      t.equal(JSON.parse(await guarded.client.hget(key, 'record') as string).windows[0].message, name)
      t.strictSame(lines.filter(({ msg }) => msg.includes('the store is')).map(({ msg }) => msg), [
        `maintenance: the store is Redis at 127.0.0.1:${guarded.port}, database ${name.includes('older') ? 0 : db}`
      ])
      t.notMatch(JSON.stringify(lines), /secret|p@ss/)
    })
  }
  t.equal(await client.get('x'), null, 'the client is not in subscriber mode')
  t.equal(await plain.get('x'), null, 'neither is this one')
  t.equal(plain.status, 'ready')
})

t.test('fastify.redis of @fastify/redis', async t => {
  const apps = await Promise.all([1, 2].map(async () => {
    const { app } = bareApp(t)
    await app.register(fastifyRedis, { host: '127.0.0.1', port: server.port, db: 6 })
    await app.register(maintenance, { store: { redis: app.redis, prefix: 'fr:' } })
    await app.ready()
    return app
  }))
  await listening(server.client, 'fr:{default}:changes', 2)
  await apps[0]!.maintenance.set(true)
  await until('followed', () => apps[1]!.maintenance.active)
  t.equal(await apps[1]!.redis.ping(), 'PONG')
  await apps[0]!.close()
  await until('closed by its owner', () => apps[0]!.redis.status === 'end')
})

t.test('the log names the location of the state, without a password', async t => {
  const describe = (redis: unknown): string => createConnector(redis).description
  t.equal(describe('rediss://ops:hunter2@redis.example'), 'redis.example:6379, database 0')
  t.equal(describe({ path: '/run/redis.sock', db: 1 }), '/run/redis.sock, database 1')
  t.equal(describe({ host: '::1', port: 7000, password: 'hunter2' }), '[::1]:7000, database 0')
  t.equal(describe({
    sentinels: [{ host: 's1', port: 26379 }, { host: 's2' }], name: 'mymaster', sentinelPassword: 'hunter2'
  }), 'mymaster of the sentinels s1:26379 and s2:6379, database 0')
  const cluster = new Cluster([7000, {
    host: 'c2', port: 7001, password: 'hunter2'
  } as object, 'redis://:hunter2@c3:7002', 'c4:7003', 'c5:hunter2', {}], { lazyConnect: true })
  t.equal(
    describe(cluster),
    'the cluster of localhost:7000 and c2:7001 and c3:7002 and c4:7003 and a node and localhost:6379'
  )
})

t.test('without ioredis: iovalkey is used, or else a clear error is thrown', async t => {
  const back = hide('ioredis')
  t.equal(createConnector(`${server.url}/3`).description, `127.0.0.1:${server.port}, database 3`)
  const allBack = hide('iovalkey')
  t.throws(() => createConnector('redis://user:secret@localhost'), {
    code: 'FST_ERR_MAINTENANCE_OPTION',
    message: "maintenance: option 'store.redis' is an address or options, expected the package ioredis beside it (npm install ioredis)"
  })
  allBack()
  back()
  for (const redis of ['redis://user:secret@localhost', { host: 'localhost', password: 'secret' }]) {
    const error = await startServer(
      t,
      { store: { redis } },
      { preload: ['no-ioredis.ts'] }
    ).then(() => 'started', error => error.message)
    t.match(error, /FST_ERR_MAINTENANCE_OPTION/)
    t.match(error, /npm install ioredis/)
    t.notMatch(error, /secret/)
  }
})

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

t.test('rights: the minimal ones, and the effect of missing ones', async t => {
  const own1 = await startRedis(t)
  const user = (name: string, ...rights: string[]) =>
    own1.client.call('ACL', 'SETUSER', name, 'reset', 'on', '>secret', ...rights)
  const redis = (name: string): string => `redis://${name}:secret@127.0.0.1:${own1.port}`
  const KEYS = '~fastify-maintenance:*'
  const CHANNELS = '&fastify-maintenance:*'
  const READER = ['+hmget', '+time', '+lrange', '+subscribe']
  const SERVER = ['+evalsha', '+eval', '+time', '+hset', '+hdel', '+hmget', '+zadd', '+zrem', '+zrangebyscore']
  const WRITER = [...READER, ...SERVER, '+del', '+lindex', '+lpush', '+ltrim', '+publish']
  await user('reader', KEYS, CHANNELS, ...READER, `(~fastify-maintenance:*:servers* ${SERVER.join(' ')})`)
  await user('writer', KEYS, CHANNELS, ...WRITER)
  const reader = await boot(t, { redis: redis('reader') })
  const writer = await boot(t, { redis: redis('writer') })
  await listening(own1.client, 'fastify-maintenance:{default}:changes', 2)
  await writer.maintenance.set(true)
  await until('followed', () => reader.maintenance.active)
  t.equal((await reader.maintenance.history()).length, 1)
  await until('they see each other', async () => (await Promise.all([reader, writer].map(
    ({ maintenance }) => maintenance.servers()
  ))).every(servers => servers.length === 2 && servers.every(server => server.sites[0]?.active)))
  t.strictSame([...reader.lines, ...writer.lines].filter(line => line.level >= 40).map(line => line.msg).filter(
    text => /store error|NOPERM|watched|cannot see/.test(text)
  ), [], 'no warnings')
  await t.rejects(reader.maintenance.set(false), {
    code: 'FST_ERR_MAINTENANCE_STORE', message: /nothing was changed: NOPERM/, cause: { message: /NOPERM/ }
  })
  t.match(reader.maintenance.status(), { active: true })

  await t.test('without PUBLISH, TIME and the history: the state is still written and polled', async t => {
    await user('quiet', KEYS, CHANNELS, '+hmget', '+subscribe', '+eval', '+hset')
    const quiet = await boot(t, { redis: redis('quiet') })
    const polling = await boot(t, { redis: redis('reader'), pollInterval: 100 })
    await quiet.maintenance.set(false)
    t.match(quiet.maintenance.status(), { active: false, store: { error: null } })
    await until('polled', () => !polling.maintenance.active)
    t.equal((await reader.maintenance.history()).length, 1)
  })

  await t.test('without SUBSCRIBE: polled only, and logged', async t => {
    await user('deaf', KEYS, '+hmget', '+time')
    const deaf = await boot(t, { redis: redis('deaf'), pollInterval: 100 })
    await until('logged', () => deaf.lines.some(
      line => line.level === 40 && /cannot be watched, it is only polled: NOPERM .*subscribe/.test(line.msg)
    ))
    await writer.maintenance.set(true)
    await until('polled', () => deaf.maintenance.active)
    await user('deaf', KEYS, CHANNELS, '+hmget', '+time', '+subscribe')
    await listening(own1.client, 'fastify-maintenance:{default}:changes', 3)
    t.pass('it listens once it has the right')
  })

  await t.test('without the rights for heartbeats: others neither see it nor wait for it, and it is logged', async t => {
    await user('hidden', KEYS, CHANNELS, ...READER)
    const hidden = await boot(t, { redis: redis('hidden') })
    t.ok(
      hidden.lines.some(line => line.level === 40 && /other servers cannot see this one: NOPERM .*eval/.test(line.msg))
    )
    await t.rejects(hidden.maintenance.servers(), { code: 'FST_ERR_MAINTENANCE_STORE', message: /NOPERM/ })
    t.equal((await reader.maintenance.servers()).length, 2)
    const store = createRedisStore(await createConnector(redis('hidden')), {
      prefix: 'fastify-maintenance:', sites: []
    })
    t.teardown(() => store.close())
    // two are for a server that leaves, and one of EVAL and EVALSHA is enough
    for (const missing of SERVER.filter(right => !['+hdel', '+zrem', '+evalsha'].includes(right))) {
      const without = missing === '+eval' ? ['-eval', '-evalsha'] : [missing.replace('+', '-')]
      await user('hidden', KEYS, CHANNELS, ...READER, ...SERVER, ...without)
      await t.rejects(Promise.all([
        store.heartbeat?.('y', 'z', 60_000), store.heartbeats?.()
      ]), { message: /NOPERM|permissions|can't run this command/ }, missing)
    }
  })

  await t.test('without the right to read: the fallback, and logged', async t => {
    await user('blind', KEYS, CHANNELS, '+subscribe')
    const blind = await boot(t, { redis: redis('blind') }, { whenUnknown: 'closed' })
    t.match(blind.maintenance.status(), {
      active: true, source: 'unknown', store: { connected: false, error: /NOPERM/ }
    })
    await t.rejects(blind.maintenance.set(false), { code: 'FST_ERR_MAINTENANCE_STORE' })
  })

  await t.test('a script without the right to read overwrites nothing', async t => {
    await user('half', KEYS, CHANNELS, '+eval', '+hset', '+del')
    const half = new Redis(redis('half'), { enableReadyCheck: false })
    t.teardown(() => half.disconnect())
    const held = await own1.client.hgetall('fastify-maintenance:{default}')
    await t.rejects(half.eval(
      WRITE,
      2,
      'fastify-maintenance:{default}',
      'fastify-maintenance:{default}:history',
      'text',
      5,
      '',
      'c',
      Date.now(),
      Date.now() + 1000,
      'one'
    ), /can't run this command/)
    t.strictSame(await own1.client.hgetall('fastify-maintenance:{default}'), held)
  })
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

t.test('no connection, listener or timer is left over', async t => {
  const own1 = await startRedis(t)
  const warnings: string[] = []
  const onWarning = (warning: Error): void => { warnings.push(warning.message) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const { maintenance, app } = await boot(t, { redis: own1.url })
  const clients = async () => (await own1.client.client('LIST') as string).trim().split('\n').length
  await listening(own1.client, 'fastify-maintenance:{default}:changes', 1)
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  t.equal(await clients(), 3, 'two of the plugin, one of the test')
  for (let i = 0; i < 200; i++) await maintenance.set(i % 2 === 0)
  for (let i = 0; i < 100; i++) {
    for (const type of ['pubsub', 'normal']) await own1.client.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
    // one of the test and two of the plugin, of which one listens
    await until('back', async () => await clients() === 3 &&
      (await own1.client.pubsub('NUMSUB', 'fastify-maintenance:{default}:changes') as [string, number])[1] === 1)
  }
  t.ok(Number(/total_connections_received:(\d+)/.exec(await own1.client.info('stats'))?.[1]) > 200)
  await listening(own1.client, 'fastify-maintenance:{default}:changes', 1)
  await until('no more timers', () => timers() <= before + 1)
  t.match(await maintenance.set(true), { active: true })
  await app.close()
  await until('disconnected', async () => await clients() === 1)
  t.strictSame(warnings, [])
})

t.test('the process exits after close()', async t => {
  const proxy = await startProxy(t, server.port)
  for (const state of ['well', 'frozen', 'refusing']) {
    const redis = state === 'refusing' ? 'redis://127.0.0.1:1' : proxy.url
    const { ask, exited } = await startServer(t, { store: { redis, prefix: own().prefix } })
    proxy.frozen = state === 'frozen'
    await ask('close')
    t.strictSame(await exited, [0, null])
  }
})

t.test("the command: several sites, prefix, an application's keyPrefix", async t => {
  const { redis, prefix } = own()
  const at = ['--store', redis, '--prefix', prefix]
  t.match(await run(['status', 'shop', ...at]), { code: 0, out: /^shop: open \(nothing stored at redis:/, err: '' })
  const { maintenance } = await boot(t, { redis, prefix }, { site: 'shop', sites: ['shop', 'blog'] })
  await listening(server.client, `${prefix}{blog}:changes`, 1)
  t.match(await run(['on', 'shop', 'blog', '--by', 'ops', ...at]), {
    code: 0, out: /^shop: closed (.|\n)*\nblog: closed /
  })
  await until('followed', () => maintenance.active && maintenance.for('blog').active)
  t.match(await run(['status', 'blog', 'other', ...at]), { code: 4 })
  t.match(await run(['off', 'shop'], { MAINTENANCE_STORE: redis }), { code: 2, err: /neither stored in .* nor served/ })
  t.ok(maintenance.active, 'another prefix is separate')
  t.match(await run(['off', 'shop', ...at]), { code: 0 })
  await until('followed', () => !maintenance.active)

  const client = new Redis(redis, { keyPrefix: 'app:' })
  t.teardown(() => client.disconnect())
  const { maintenance: prefixed } = await boot(t, { redis: client, prefix })
  await listening(server.client, `app:${prefix}{default}:changes`, 1)
  t.match(await run(['on', '--store', redis, '--prefix', `app:${prefix}`]), { code: 0 })
  await until('found by the full prefix', () => prefixed.active)
})

t.test('the command: all sites are checked before the first one changes', async t => {
  const own1 = await startRedis(t)
  await own1.client.call('ACL', 'SETUSER', 'shop', 'reset', 'on', '>secret', '~*{shop}*', '&*', '+@all')
  const result = await run(['on', 'shop', 'blog', '--store', `redis://shop:secret@127.0.0.1:${own1.port}`])
  t.match(result, {
    code: 1, out: '', err: /^fastify-maintenance: the store failed, nothing was changed: NOPERM .*\n$/
  })
  t.notMatch(result.err, /secret/)
  t.strictSame(await own1.client.keys('*'), [])
  await own1.client.call(
    'ACL',
    'SETUSER',
    'reader',
    'reset',
    'on',
    '>secret',
    '~*',
    '&*',
    '+hmget',
    '+time',
    '+eval',
    '+evalsha',
    '+zrangebyscore'
  )
  t.match(await run(['on', 'shop', 'blog', '--force', '--store', `redis://reader:secret@127.0.0.1:${own1.port}`]), {
    code: 1, err: /^fastify-maintenance: site 'shop': the store failed, nothing was changed: .*can't run this command/
  })
})

t.test('the command: Redis unreachable, mute or denying: exit code 1 within 5 s, one line, no password', async t => {
  const guarded = await startRedis(t, [], { password: 'right' })
  const stopped = await startRedis(t)
  stopped.stop()
  const mute = await startMute(t)
  const proxy = await startProxy(t, server.port)
  proxy.frozen = true
  // ioredis 5 reports a connection as ready before Redis has answered
  const SILENT = /no connection|Command timed out/
  const cases: Record<string, [url: string, words: RegExp]> = {
    'nothing listens': ['redis://ops:hunter2@127.0.0.1:1', /ECONNREFUSED/],
    'no such name': ['redis://ops:hunter2@no-such-host.invalid', /ENOTFOUND|EAI_AGAIN/],
    'accepts and never answers': [`redis://ops:hunter2@127.0.0.1:${mute.port}`, SILENT],
    'stopped by a signal': [`redis://127.0.0.1:${stopped.port}`, SILENT],
    'behind a half-open link': [proxy.url, SILENT],
    'wrong password': [`redis://:hunter2@127.0.0.1:${guarded.port}`, /WRONGPASS/],
    'wrong user': [`redis://ops:hunter2@127.0.0.1:${guarded.port}`, /WRONGPASS/],
    'no password': [guarded.url, /NOAUTH/],
    'TLS to a plain port': [`rediss://ops:hunter2@127.0.0.1:${server.port}`, /no connection/]
  }
  await Promise.all(Object.entries(cases)
    .flatMap(([name, [url, words]]) => ['status', 'on', 'off'].map(async command => {
      const { code, out, err, took } = await run([command, 'shop', 'blog', '--store', url])
      t.equal(code, 1, `${command}: ${name}: ${err}`)
      t.equal(out, '')
      t.match(err, /^fastify-maintenance: [^\n]+\n$/)
      t.match(err, words)
      t.notMatch(err, /hunter2/)
      t.comment(`after ${took} ms`)
    })))
  for (const store of [
    'redis://ops:hunter2@:x',
    'redis://ops:hunter2@127.0.0.1:999999',
    'redis://:hunter2%zz@127.0.0.1',
    'redis://ops:12/hunter2@127.0.0.1',
    'redis://ops:12?hunter2@127.0.0.1'
  ]) {
    const { code, err } = await run(['status', '--store', store])
    t.equal(code, 2, store)
    t.notMatch(err, /hunter2/, store)
  }
})

t.test('a connection is cut once, and only if there is one', async t => {
  const client = (await createConnector(server.url)).connect() as Redis
  t.teardown(() => client.disconnect())
  let closed = 0
  client.on('close', () => { closed++ })
  reconnect(client)
  t.equal(client.status, 'wait', 'there was none')
  await whenReady(client)
  await whenReady(client)
  reconnect(client)
  reconnect(client)
  await until('reconnected', () => closed > 0 && client.status === 'ready')
  t.equal(closed, 1)
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

t.test('a database that cannot be selected: no connection, and no write to another one', async t => {
  const own1 = await startRedis(t)
  await own1.client.call('ACL', 'SETUSER', 'noselect', 'reset', 'on', '>secret', '~*', '&*', '+@all', '-select')
  for (const [url, words] of [
    [`${own1.url}/99`, /DB index is out of range/],
    [`redis://noselect:secret@127.0.0.1:${own1.port}/3`, /NOPERM .*select/]
  ] as const) {
    t.match(await run(['on', '--store', url]), { code: 1, out: '', err: words })
    const { maintenance } = await boot(t, { redis: url })
    t.match(maintenance.status(), { source: 'unknown', store: { connected: false, error: words } })
    await t.rejects(maintenance.set(true), { code: 'FST_ERR_MAINTENANCE_STORE', message: words })
  }
  t.strictSame(await own1.client.keys('*'), [])
})

t.test('the command exits', async t => {
  const { redis, prefix } = own()
  const child = spawn(process.execPath, [
    '--import', 'tsx', 'lib/cli/bin.ts', 'on', '--force', '--store', redis, '--prefix', prefix
  ], {
    env: {
      PATH: process.env.PATH, MAINTENANCE_IOREDIS: process.env.MAINTENANCE_IOREDIS, _TAPJS_PROCESSINFO_COVERAGE_: '0'
    },
    stdio: 'ignore'
  })
  t.teardown(() => child.kill('SIGKILL'))
  t.strictSame(await once(child, 'exit'), [0, null])
  t.match(await server.client.hget(`${prefix}{default}`, 'record'), /"kind":"now"/)
})
