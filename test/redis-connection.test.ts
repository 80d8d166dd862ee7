import fastifyRedis from '@fastify/redis'
import type { RedisOptions } from 'ioredis'
import t from 'tap'
import maintenance from '../index.ts'
import { createConnector } from '../lib/stores/redis/connect.ts'
import { reconnect, whenReady } from '../lib/stores/redis/ready.ts'
import { createRedisStore } from '../lib/stores/redis/redis-store.ts'
import { WRITE } from '../lib/stores/redis/script.ts'
import type { RedisStoreOptions } from '../types/index.ts'
import { bareApp, until } from './fixtures/app.ts'
import { Cluster, hide, Redis } from './fixtures/ioredis.ts'
import { startProxy, startRedis } from './fixtures/redis.ts'
import { boot, listening, separatePrefixes, startServer } from './fixtures/redis-apps.ts'

const server = await startRedis(t)
const own = separatePrefixes(server)

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
