import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { StateRecord } from '../lib/state/record.ts'
import type { FastifyMaintenanceOptions, Maintenance, MaintenanceStatus, RedisStoreOptions } from '../types/index.ts'
import { counter, createApp, retried, until, type LogLine } from './fixtures/app.ts'
import { Cluster, Redis } from './fixtures/ioredis.ts'
import { startMute, startProxy, startRedis, type RedisServer } from './fixtures/redis.ts'
import { startCluster, startSentinels } from './fixtures/redis-cluster.ts'
import { storedWindow, textOf } from './fixtures/records.ts'

// three at a time of the tests that mostly wait; the others keep the process busy
t.jobs = 3

const KEY = 'fastify-maintenance:{default}'
const CHANNEL = `${KEY}:changes`
const STORE = 'FST_ERR_MAINTENANCE_STORE'
const UNKNOWN = 'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN'

const record = (change: Partial<StateRecord>): string => textOf([], { revision: Date.now(), ...change })
const put = (client: Redis | Cluster, text: string, rev: string | number) => client.hset(KEY, { record: text, rev })
const heldRevision = async (client: Redis | Cluster): Promise<number> =>
  JSON.parse(await client.hget(KEY, 'record') ?? '{}').revision ?? 0

/** A server whose handler counts its calls. */
async function boot (t: Test, redis: RedisStoreOptions['redis'], {
  store = {}, ...options
}: Omit<FastifyMaintenanceOptions, 'store'> & { store?: Omit<RedisStoreOptions, 'redis'> } = {}) {
  const { app, lines } = await createApp(t, { store: { redis, ...store }, ...options })
  const handler = counter()
  app.get('/', handler)
  const begin = Date.now()
  await app.ready()
  const logged = (words: string | RegExp): LogLine[] => lines.filter(
    line => line.level > 30 && (typeof words === 'string' ? line.msg.includes(words) : words.test(line.msg))
  )
  return {
    app,
    lines,
    logged,
    handler,
    took: Date.now() - begin,
    maintenance: app.maintenance,
    status: (): MaintenanceStatus => app.maintenance.status(),
    code: async () => (await app.inject('/')).statusCode
  }
}

const listening = (client: Redis, count: number) =>
  until(`${count} listen`, async () => (await client.pubsub('NUMSUB', CHANNEL) as [string, number])[1] === count)

/** Sends six requests at a time until it is ended. */
function startLoad (code: () => Promise<number>) {
  const load = {
    codes: new Set<number>(), took: [] as number[], goesOn: true, ended: Promise.resolve() as Promise<unknown>
  }
  load.ended = Promise.all(Array.from({ length: 6 }, async () => {
    while (load.goesOn) {
      const begin = performance.now()
      load.codes.add(await code())
      load.took.push(performance.now() - begin)
      await new Promise(resolve => setImmediate(resolve))
    }
  }))
  return load
}

t.test('6 s of load on a closed site, Redis gone from second 2 to 4: no handler runs', async t => {
  t.jobs = 2
  await Promise.all((['killed', 'stopped'] as const).map(async fault => {
    await t.test(fault, { buffered: true }, async t => {
      const server = await startRedis(t)
      const { maintenance, handler, code, logged, status } = await boot(t, server.url, { store: { pollInterval: 500 } })
      const { revision } = await maintenance.set(true)
      const load = startLoad(code)
      await sleep(2000)
      if (fault === 'killed') await server.kill()
      else server.stop()
      await until('logged', () => status().store.error !== null)
      t.match(status(), {
        active: true, source: 'store', store: { connected: false, error: /no connection|timed out|closed/ }
      })
      const answered = load.took.length
      await sleep(1500)
      await until(
        '300 answers, which would take a minute if they waited for Redis',
        () => load.took.length >= answered + 300
      )
      if (fault === 'killed') await server.start()
      else server.go()
      await sleep(2000)
      load.goesOn = false
      await load.ended
      const took = load.took.sort((a, b) => a - b)
      const at = (part: number): number => took[Math.floor((took.length - 1) * part)] as number
      t.comment(`${fault}: ${took.length} requests, p50 ${at(0.5)
        .toFixed(2)} ms, p99.9 ${at(0.999).toFixed(1)} ms, slowest ${at(1).toFixed(1)} ms`)
      t.strictSame([...load.codes], [503])
      t.equal(handler.runs, 0)
      await until('recovered, and repaired if it came back empty', async () => status().store.error === null &&
        await heldRevision(server.client) === revision)
      t.equal(logged(/store error for site /).length >= 1, true)
      t.ok(logged(/store error for site /).length <= 4, 'logged on changes, not at each attempt')
    })
  }))
})

t.test('if the stored state is lost, the last known state is kept and restored', async t => {
  const server = await startRedis(t)
  const one = await boot(t, server.url, { store: { pollInterval: 300 } })
  const two = await boot(t, server.url, { store: { pollInterval: 300 } })
  await retried(() => one.maintenance.set(false))
  const faults: Record<string, () => Promise<unknown>> = {
    FLUSHALL: () => server.client.flushall(),
    'DEL, as by an eviction': () => server.client.del(KEY),
    'a restart, empty': async () => {
      await server.kill()
      await server.start()
    },
    'an older record, as after a failover': () => put(server.client, record({ revision: 5 }), 5)
  }
  for (const [name, fault] of Object.entries(faults)) {
    for (const on of [true, false]) {
      await t.test(`${name}, ${on ? 'closed' : 'open'}`, async t => {
        const { revision } = await retried(() => one.maintenance.set(on))
        await until('followed', () => two.status().revision === revision)
        const runs = one.handler.runs
        const repairs = one.logged('repaired the record').length + two.logged('repaired the record').length
        await fault()
        await until('repaired', async () => await heldRevision(server.client) === revision)
        await until('both have recovered', () => one.status().store.error === null && two.status().store.error === null)
        for (const { status, code } of [one, two]) {
          t.match(status(), { active: on, revision, source: 'store' })
          t.equal(await code(), on ? 503 : 200)
        }
        if (on) t.equal(one.handler.runs, runs)
        const repaired = () => one.logged('repaired the record').length + two.logged('repaired the record').length
        await until('one of them logs it', () => repaired() > repairs)
        t.equal(repaired(), repairs + 1, 'only one of them')
        t.match((await boot(t, server.url)).status(), { active: on, revision, source: 'store' })
      })
    }
  }
  for (const words of ['the state record is missing', 'is older than the known one']) {
    t.ok([one, two].some(({ logged }) => logged(words).length > 0), words)
  }
})

/** Invalid states: how to store one, and the error that an operator reads. */
const GARBAGE: Record<string, [make: (client: Redis) => unknown, words: RegExp]> = {
  'a string': [client => client.set(KEY, 'on'), /holds something else: WRONGTYPE/],
  'a list': [client => client.lpush(KEY, 'on'), /WRONGTYPE/],
  'a set': [client => client.sadd(KEY, 'on'), /WRONGTYPE/],
  'a sorted set': [client => client.zadd(KEY, 1, 'on'), /WRONGTYPE/],
  'a stream': [client => client.xadd(KEY, '*', 'on', '1'), /WRONGTYPE/],
  'a revision without a record': [client => client.hset(KEY, 'rev', 5), /holds no record/],
  'an empty record': [client => put(client, '', 5), /is empty/],
  blanks: [client => put(client, ' \n', 5), /is empty/],
  'a word': [client => put(client, 'off', 5), /is not JSON/],
  'half a record': [client => put(client, record({}).slice(0, -20), 5), /is not JSON/],
  null: [client => put(client, 'null', 5), /expected/],
  'a number': [client => put(client, '0', 5), /expected/],
  'an array': [client => put(client, '[]', 5), /expected/],
  'an object of another program': [client => put(client, '{"on":false}', 5), /expected/],
  'a later version': [client => put(client, record({ revision: 5 }).replace('"v":2', '"v":3'), 5), /v is 3, expected/],
  'windows that are not a list': [
    client => put(client, record({ revision: 5 }).replace('"windows":[]', '"windows":{}'), 5), /windows is .*expected/
  ],
  'an invalid window': [
    client => put(client, record({ revision: 5 }).replace('"windows":[]', '"windows":[1]'), 5),
    /windows\[0\] is 1, expected an object/
  ],
  'bytes that are not text': [
    client => client.hset(KEY, 'rev', 5, 'record', Buffer.from([0xff, 0xfe, 0x00, 0x80])), /is not JSON/
  ],
  '10 MB': [client => put(client, 'x'.repeat(10_000_000), 5), /has 10000000 characters, at most/],
  'brackets 100,000 deep': [
    client => put(client, '['.repeat(100_000), 5), /has 100000 characters and was not written by/
  ],
  'a record with the revision 2^53': [
    client => put(client, record({ revision: 2 ** 53 }), String(2 ** 53)), /revision is .*expected/
  ],
  'a record with the revision 1e300': [
    client => put(client, record({}).replace(/"revision":\d+/, '"revision":1e300'), '1e300'), /revision is .*expected/
  ],
  'a record from the day after tomorrow': [
    client => put(client, record({ revision: Date.now() + 2 * 86_400_000 }), Date.now() + 2 * 86_400_000),
    /revision is .*, more than a day ahead of the clock/
  ],
  'a record with the revision -1': [client => put(client, record({ revision: -1 }), -1), /revision is .*expected/]
}

/** Reads again, because on a busy machine 10 MB may exceed the timeout of a command. */
async function refreshed (maintenance: Maintenance): Promise<MaintenanceStatus> {
  const status = await maintenance.refresh()
  return /timed out|no answer within/.test(status.store.error ?? '') ? refreshed(maintenance) : status
}

t.test('garbage of many kinds: a running server keeps its state, one that boots is closed, set() repairs', async t => {
  const server = await startRedis(t)
  const running = await boot(t, server.url, { store: { pollInterval: 3_600_000 } })
  await listening(server.client, 1)
  for (const [name, [make, words]] of Object.entries(GARBAGE)) {
    const on = Object.keys(GARBAGE).indexOf(name) % 2 === 0
    await server.client.del(KEY)
    const { revision } = await retried(() => running.maintenance.set(on))
    // in one step, because a server that finds nothing repairs it
    const both = server.client.multi().del(KEY)
    make(both as unknown as Redis)
    for (const [error] of await both.exec() ?? []) t.equal(error, null)
    const runs = running.handler.runs
    t.match(
      await refreshed(running.maintenance),
      { active: on, revision, source: 'store', store: { connected: true, error: words } },
      `${name}: the last known state is kept`
    )
    t.equal(await running.code(), on ? 503 : 200)
    t.equal(running.handler.runs, runs + (on ? 0 : 1))
    t.ok(running.logged(words).length > 0, 'logged')
    const booted = await boot(t, server.url)
    t.match(
      await refreshed(booted.maintenance),
      { active: true, source: 'unreadable', revision: 0, store: { error: words } },
      `${name}: closed at boot`
    )
    t.equal(await booted.code(), 503)
    t.match(
      await retried(() => booted.maintenance.set(!on)),
      { active: !on, source: 'store', store: { error: null } },
      `${name}: set() repairs`
    )
    await until('followed', () => running.maintenance.active === !on)
    await booted.app.close()
  }
})

t.test('a poisoned revision field locks no one out', async t => {
  const server = await startRedis(t)
  const { maintenance } = await boot(t, server.url)
  const other = await boot(t, server.url)
  await listening(server.client, 2)
  for (const poison of [
    '9007199254740992', '1e300', 'inf', '-inf', 'nan', '-1', '0.5', 'x', '', String(Date.now() + 90_000_000),
    String(Date.now() + 3_600_000), '0x7fffffffffffffff'
  ]) {
    for (const on of [true, false]) {
      await server.client.hset(KEY, 'rev', poison)
      const { revision } = await retried(() => maintenance.set(on))
      t.ok(Math.abs(revision - Date.now()) < 60_000, `${poison}: ${revision}`)
      await until(`followed after ${poison}`, () => other.status().revision === revision)
      t.equal(other.maintenance.active, on)
    }
  }
})

t.test('Redis rejects the write: set() rejects with the cause, and nothing changes', async t => {
  const refusals: Record<string, [prepare: (
    t: Test, server: RedisServer
  ) => Promise<unknown>, heal: (server: RedisServer) => Promise<unknown>, words: RegExp]> = {
    READONLY: [async (t, server) => {
      const master = await startRedis(t)
      const held = await server.client.hgetall(KEY)
      await master.client.hset(KEY, held)
      await server.client.replicaof('127.0.0.1', master.port)
      await until('replicates', async () => /master_link_status:up/.test(await server.client.info('replication')))
    }, server => server.client.replicaof('NO', 'ONE'), /READONLY/],
    OOM: [
      (_, server) => server.client.config('SET', 'maxmemory', '1'),
      server => server.client.config('SET', 'maxmemory', '0'),
      /OOM/
    ],
    MISCONF: [async (_, server) => {
      await server.client.config('SET', 'save', '3600 1', 'dir', '/proc')
      await server.client.bgsave().catch(() => {})
      await until(
        'failed to save',
        async () => /rdb_last_bgsave_status:err/.test(await server.client.info('persistence'))
      )
    }, server => server.client.config('SET', 'stop-writes-on-bgsave-error', 'no'), /MISCONF/],
    NOPERM: [
      (_, server) => server.client.call('ACL', 'SETUSER', 'default', '-eval', '-evalsha'),
      server => server.client.call('ACL', 'SETUSER', 'default', '+eval', '+evalsha'),
      /NOPERM/
    ],
    'NOPERM in the script': [
      (_, server) => server.client.call('ACL', 'SETUSER', 'default', '-hset'),
      server => server.client.call('ACL', 'SETUSER', 'default', '+hset'),
      /can't run this command/
    ],
    BUSY: [async (t, server) => {
      const busy = server.client.duplicate()
      t.teardown(() => busy.disconnect())
      await server.client.config('SET', 'busy-reply-threshold', '100')
      busy.eval('while true do end', 0).catch(() => {})
      await until('busy', () => server.client.ping().then(() => false, error => /BUSY/.test(error.message)))
    }, server => server.client.script('KILL'), /BUSY/],
    MASTERDOWN: [async (_, server) => {
      await server.client.config('SET', 'replica-serve-stale-data', 'no')
      await server.client.replicaof('127.0.0.1', 1)
    }, server => server.client.replicaof('NO', 'ONE'), /MASTERDOWN/]
  }
  await Promise.all(Object.entries(refusals).map(async ([name, [prepare, heal, words]]) => {
    const server = await startRedis(t, ['--enable-protected-configs', 'yes'])
    const { maintenance, status, code, handler, lines } = await boot(t, server.url)
    const { revision } = await maintenance.set(true)
    await prepare(t, server)
    const error =
      await maintenance.set(false).then(() => { throw new Error(`${name}: it was written`) }, error => error)
    t.match(error, { code: STORE, statusCode: 503, message: words, cause: { message: words } }, name)
    t.notOk(/command|args/.test(Object.keys(error.cause).join()), 'the command is not included')
    t.match(status(), { active: true, revision })
    t.equal(await code(), 503)
    t.equal(handler.runs, 0)
    await heal(server)
    await until(`${name}: healed`, async () => maintenance.set(false).then(() => true, () => false))
    t.equal(await code(), 200)
    t.notMatch(JSON.stringify(lines), /evalsha|HMGET', KEYS/)
  }))
})

t.test('an address that leads to another Redis after a failover: READONLY opens a new connection', { buffered: true }, async t => {
  // otherwise a master waits 5 s for more replicas before it sends data to the first
  const [before, after] = [await startRedis(t), await startRedis(t, ['--repl-diskless-sync-delay', '0'])]
  const proxy = await startProxy(t, before.port)
  const { maintenance } = await boot(t, proxy.url, { store: { pollInterval: 3_600_000 } })
  await maintenance.set(true)
  await after.client.hset(KEY, await before.client.hgetall(KEY))
  await before.client.replicaof('127.0.0.1', after.port)
  await until('replicates', async () => /master_link_status:up/.test(await before.client.info('replication')))
  proxy.target = after.port
  await t.rejects(maintenance.set(false), { code: STORE, message: /READONLY/ })
  await until('written', () => maintenance.set(false).then(() => true, () => false))
  t.match(JSON.parse(await after.client.hget(KEY, 'record') as string), { windows: [] })
})

t.test('the password changes while servers run: logged without it, the last known state is kept', { buffered: true }, async t => {
  const server = await startRedis(t, [], { password: 'hunter2' })
  const { maintenance, status, lines } =
    await boot(t, `redis://:hunter2@127.0.0.1:${server.port}`, { store: { pollInterval: 300 } })
  await maintenance.set(true)
  await server.client.config('SET', 'requirepass', 'other')
  await server.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await server.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await until('the error is shown', () => /WRONGPASS/.test(status().store.error ?? ''))
  t.match(status(), { active: true, store: { connected: false } })
  await t.rejects(maintenance.set(false), { code: STORE, message: /WRONGPASS/, cause: { message: /WRONGPASS/ } })
  await server.client.config('SET', 'requirepass', 'hunter2')
  await until('recovered', () => status().store.connected)
  t.match(await maintenance.set(false), { active: false })
  t.notMatch(JSON.stringify(lines), /hunter2/)

  const without = await boot(t, server.url)
  t.match(without.status(), { source: 'unknown', store: { connected: false, error: /NOAUTH/ } })
  await t.rejects(without.maintenance.set(true), { code: STORE, message: /NOAUTH/ })
})

t.test('credentials that change: each connection uses the current ones', { buffered: true }, async t => {
  const server = await startRedis(t)
  const rotate = async (...rules: string[]) => {
    await server.client.call('ACL', 'SETUSER', 'app', 'on', '~*', '&*', '+@all', 'resetpass', ...rules)
    await server.client.call('CLIENT', 'KILL', 'USER', 'app')
  }
  const at = { host: '127.0.0.1', port: server.port, username: 'app' }

  await t.test('of the client', async t => {
    await rotate('>hunter1')
    const client = new Redis({ ...at, password: 'hunter1', retryStrategy: () => 20 })
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    const { maintenance, status, lines } = await boot(t, client, { store: { pollInterval: 300 } })
    await maintenance.set(true)
    await listening(server.client, 1)
    await rotate('>hunter2')
    await until('rejected', () => /WRONGPASS/.test(status().store.error ?? ''))
    client.options.password = 'hunter2'
    await until('recovered', () => status().store.connected)
    t.match(await maintenance.set(false), { active: false })
    await listening(server.client, 1)
    t.notMatch(JSON.stringify(lines), /hunter/)
    await maintenance.set(true)
  })

  await t.test('of functions in the options', async t => {
    await rotate('>hunter3')
    let calls = 0
    let password = (): unknown => 'hunter3'
    const redis = { ...at, username: () => 'app', password: () => { calls++; return password() } }
    const { app, maintenance, status, lines } = await boot(t, redis, { store: { pollInterval: 300 } })
    t.match(status(), { source: 'store', active: true })
    await listening(server.client, 1)
    t.equal(calls, 2, 'once per connection')
    password = async () => 'hunter4'
    await rotate('>hunter4')
    await until('connected again', () => calls === 4)
    await listening(server.client, 1)
    t.match(await maintenance.set(false), { active: false })
    for (const [fails, words] of [
      [async () => {
        throw new Error('no token today')
      }, /no connection: the function store\.redis\.password failed: no token today/],
      [() => undefined, /the function store\.redis\.password failed: it returned undefined/],
      [() => '', /it returned empty text/],
      [() => new Promise(() => {}), /no connection: the credentials of store\.redis did not arrive within 2000 ms/]
    ] as const) {
      password = fails
      await rotate('>hunter4')
      await until(String(words), () => words.test(status().store.error ?? ''))
    }
    password = () => 'hunter4'
    await until('recovered', () => status().store.connected)
    t.match(await maintenance.set(true), { active: true })
    t.notMatch(JSON.stringify(lines), /hunter/)

    password = () => new Promise(() => {})
    await rotate('>hunter4')
    await until('disconnected', () => !status().store.connected)
    await t.resolves(app.close(), 'it does not wait for the password')
    // the goodbye goes on behind close(), for at most 2 s
    await sleep(2000)
    const before = calls
    await sleep(2500)
    t.equal(calls, before, 'no calls once the store is closed')
    t.notMatch(await server.client.call('CLIENT', 'LIST'), /user=app/)
  })
})

t.test('Redis stops during set(): unknown until a read settles it, and never written over a newer state', { buffered: true }, async t => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server.port)
  const one = await boot(t, proxy.url, { store: { pollInterval: 300 } })
  const two = await boot(t, server.url, { store: { pollInterval: 300 } })
  await one.maintenance.set(false)

  await t.test('the write arrives and its answer is lost: a read finds it', async t => {
    proxy.muteFrom = 'lost answer'
    await t.rejects(one.maintenance.set(true, { message: 'lost answer' }), { code: UNKNOWN })
    t.match(JSON.parse(await server.client.hget(KEY, 'record') as string), { windows: [{ message: 'lost answer' }] })
    proxy.muteFrom = ''
    await until('settled', () => one.status().message === 'lost answer')
    t.match(one.status(), { active: true })
  })

  await t.test('stopped before the write arrives', async t => {
    // its read is answered, then everything stops
    for (let i = 0; i < 5; i++) {
      await retried(() => two.maintenance.set(false))
      await until('quiet', () => one.status().active === false && one.status().store.error === null)
      const chunks = proxy.chunks
      const write =
        one.maintenance.set(true, { message: `late ${i}` }).then(() => 'in time', error => error.code as string)
      await until('asked', () => proxy.chunks > chunks + i % 2)
      server.stop()
      const result = await write
      t.ok([UNKNOWN, STORE, 'in time'].includes(result), result)
      server.go()
      const newer = await retried(() => two.maintenance.set(false, { by: `newer ${i}` }))
      await until('both have the newer state', () => one.status().revision >= newer.revision &&
        two.status().revision >= newer.revision)
      t.match(JSON.parse(await server.client.hget(KEY, 'record') as string), { windows: [], by: `newer ${i}` })
      t.match(one.status(), { active: false, by: `newer ${i}` })
    }
  })

  await t.test('stopped between its read and its write: unknown', async t => {
    const third = await startRedis(t)
    const link = await startProxy(t, third.port)
    const { maintenance, status } = await boot(t, link.url)
    await maintenance.set(false)
    await listening(third.client, 1)
    // the chunk after the read is the write
    link.holdFrom = 'maintenance-late'
    const redisTime = async () => Number((await third.client.time())[0])
    const sent = await redisTime()
    await t.rejects(maintenance.set(true, { message: 'maintenance-late' }), { code: UNKNOWN, message: /within \d+ ms/ })
    t.match(status(), { active: false })
    // the network finally delivers it; a timer may fire a millisecond before the deadline by Redis's clock
    await until('late', async () => await redisTime() > sent + 2)
    link.holdFrom = ''
    link.release()
    await until(
      'rejected as late',
      async () => /errorstat_LATE:count=[1-9]/.test(await third.client.info('errorstats'))
    )
    t.match(JSON.parse(await third.client.hget(KEY, 'record') as string), { windows: [] })
  })
})

t.test('Redis is down at boot: ready within 6 s with `whenUnknown`, then caught up; close() does not wait', { buffered: true }, async t => {
  for (const fault of ['refuses', 'is mute']) {
    await t.test(fault, async t => {
      const server = await startRedis(t, [], { down: true })
      const mute = fault === 'is mute' ? await startMute(t, server.port) : null
      const servers = await Promise.all((['closed', 'open'] as const).map(
        whenUnknown => boot(t, server.url, { whenUnknown, store: { pollInterval: 3_600_000 } })
      ))
      for (const [i, { took, status, code, logged }] of servers.entries()) {
        t.comment(`ready after ${took} ms`)
        t.match(status(), {
          active: i === 0,
          source: 'unknown',
          store: { kind: 'redis', connected: false, lastReadAt: null, error: /no connection/ }
        })
        t.equal(await code(), i === 0 ? 503 : 200)
        t.equal(logged(/store error for site 'default': no connection/).length, 1)
      }
      const closing = await boot(t, server.url)
      await t.resolves(closing.app.close(), 'closed')
      // ioredis 5 calls a mute connection ready
      await t.rejects(servers[0]!.maintenance.set(false), { code: STORE, message: /no connection|timed out/ })
      await mute?.close()
      await server.start()
      await put(server.client, record({ windows: [storedWindow({ message: 'caught up' })] }), Date.now())
      const appeared = Date.now()
      await until('caught up', () => servers.every(({ status }) => status().message === 'caught up'))
      t.comment(`${fault}: caught up after ${Date.now() - appeared} ms`)
      await listening(server.client, 2)
    })
  }
})

t.test('close() waits neither for a stopped Redis nor for a pending set()', { buffered: true }, async t => {
  const server = await startRedis(t)
  const { app, maintenance } = await boot(t, server.url)
  await maintenance.set(true)
  server.stop()
  const write = maintenance.set(false).catch(error => error)
  await t.resolves(app.close(), 'it waits for neither')
  t.match((await write).code, STORE)
})

t.test('a connection that breaks before the answer: the error names it', { buffered: true }, async t => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server.port)
  const app = await boot(t, proxy.url, { store: { pollInterval: 3_600_000 } })
  const { chunks } = proxy
  proxy.muteFrom = 'hmget'
  const refreshed = app.maintenance.refresh()
  await until('asked', () => proxy.chunks > chunks)
  proxy.cut()
  t.match(await refreshed, { store: { connected: false, error: /^(the connection closed before Redis answered|Command timed out)$/ } })
})

t.test('both connections detect a half-open link, and reconnect', { buffered: true }, async t => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server.port)
  const far = await boot(t, proxy.url, { store: { pollInterval: 3_600_000 } })
  const near = await boot(t, server.url)
  await listening(server.client, 2)
  await near.maintenance.set(true)
  await until('followed', () => far.maintenance.active)
  const opened = proxy.opened
  proxy.frozen = true
  const { revision } = await near.maintenance.set(true, { message: 'unheard' })
  await until('noticed', () => proxy.opened > opened)
  t.match(far.status(), { active: true, message: null })
  proxy.frozen = false
  // only the watchdog can do this: no poll, no hint
  await until('reconnected', () => far.status().revision === revision)
  await near.maintenance.set(false)
  await until('it follows again', () => !far.maintenance.active)
  t.match(await far.maintenance.set(true), { active: true })

  await t.test('the command connection reconnects without the listener', async t => {
    proxy.frozen = true
    await until('noticed', async () => (await far.maintenance.refresh()).store.connected === false)
    await t.rejects(far.maintenance.set(false), { code: STORE })
    proxy.frozen = false
    await until('reconnected', async () => (await far.maintenance.refresh()).store.connected)
    t.match(await retried(() => far.maintenance.set(false)), { active: false })
  })
})

t.test('hints that are lost: the poll finds the change', { buffered: true }, async t => {
  const server = await startRedis(t)
  const { maintenance, status } = await boot(t, server.url, { store: { pollInterval: 200 } })
  await listening(server.client, 1)
  const revision = Date.now()
  await put(server.client, record({ windows: [storedWindow()], revision }), revision)
  await until('polled', () => maintenance.active)
  t.match(status(), { revision, source: 'store' })
})

t.test('writes survive SCRIPT FLUSH and a restart', { buffered: true }, async t => {
  const server = await startRedis(t)
  const { maintenance } = await boot(t, server.url)
  for (const on of [true, false]) {
    await maintenance.set(on)
    await server.client.script('FLUSH')
    t.match(await maintenance.set(!on), { active: !on })
  }
})

t.test('an expected revision', { buffered: true }, async t => {
  const server = await startRedis(t)
  const one = await boot(t, server.url)
  const two = await boot(t, server.url)
  const { revision } = await one.maintenance.set(true)
  await until('followed', () => two.maintenance.active)
  await two.maintenance.set(true, { by: 'two', expectedRevision: revision })
  await t.rejects(one.maintenance.set(false, { expectedRevision: revision }), {
    code: 'FST_ERR_MAINTENANCE_CONFLICT', statusCode: 409
  })
  await until('followed', () => one.status().by === 'two')
  t.match(one.status(), { active: true })
})

t.test('a failover that loses an acknowledged write: servers that know it repair the record', { buffered: true }, async t => {
  const master = await startRedis(t)
  const replica = await startRedis(t, ['--replicaof', '127.0.0.1', String(master.port)])
  await until('replicates', async () => /master_link_status:up/.test(await replica.client.info('replication')))
  const sentinels = await startSentinels(t, master.port)
  const at = { sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })), name: 'mymaster' }
  // a client that reads from replicas
  const user = new Redis({ ...at, role: 'slave', lazyConnect: true })
  t.teardown(() => user.disconnect())
  const servers = [await boot(t, at), await boot(t, user)]
  await servers[0]!.maintenance.set(false)
  await until('replicated', async () => await heldRevision(replica.client) > 0)
  // writes from now on never arrive
  await replica.client.replicaof('127.0.0.1', 1)
  const { revision } = await servers[0]!.maintenance.set(true, { message: 'acknowledged' })
  await until('followed', () => servers[1]!.maintenance.active)
  await master.kill()
  await replica.client.replicaof('127.0.0.1', master.port)
  t.not(await heldRevision(replica.client), revision, 'the write is lost')
  const begin = Date.now()
  await until('promoted', async () => /role:master/.test(await replica.client.info('replication')))
  await until('restored', async () => await heldRevision(replica.client) === revision)
  t.comment(`Sentinel: restored ${Date.now() - begin} ms after the kill`)
  for (const { status, code, handler } of servers) {
    t.match(status(), { active: true, message: 'acknowledged', revision })
    t.equal(await code(), 503)
    t.equal(handler.runs, 0)
  }
  await until('written', () => servers[1]!.maintenance.set(false).then(() => true, () => false))
  await until('followed', () => !servers[0]!.maintenance.active)
  t.equal(user.status, 'wait', "the user's client was never used")
})

t.test("Cluster: switches, a failover, history; the user's client never enters subscriber mode", { buffered: true }, async t => {
  const nodes = await startCluster(t)
  const cluster = new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })), {
    keyPrefix: 'app:', redisOptions: { password: 'hunter2' }
  })
  cluster.on('error', () => {})
  t.teardown(() => cluster.disconnect())
  const sites = ['default', 'shop', 'blog']
  const one = await boot(t, cluster, { sites, store: { pollInterval: 1000 } })
  const two = await boot(t, cluster, { sites, store: { pollInterval: 3_600_000 } })
  t.match(one.status(), { source: 'store', store: { connected: true, error: null } })
  const channels = async () => (await Promise.all(nodes.map(
    async ({ client }) => (await client.pubsub('NUMSUB', `app:${CHANNEL}`) as [string, number])[1]
  ))).reduce((a, b) => a + b)
  await until('both listen', async () => await channels() === 2)
  for (const site of sites) {
    await one.maintenance.for(site).set(true, { by: site })
    await until('followed', () => two.maintenance.for(site).active)
    t.match(await two.maintenance.for(site).history(), [{ kind: 'closed', by: site }])
  }
  t.equal(await cluster.get('x'), null)

  await t.test('with minimal rights', async t => {
    const rights = [
      '~fastify-maintenance:*', '&fastify-maintenance:*', '+hmget', '+time', '+lrange', '+subscribe', '+eval', '+hset',
      '+lindex', '+lpush', '+ltrim', '+publish', '+cluster', '+info'
    ]
    await Promise.all(
      nodes.map(({ client }) => client.call('ACL', 'SETUSER', 'least', 'reset', 'on', '>secret', ...rights))
    )
    const least = new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })), {
      lazyConnect: true, redisOptions: { username: 'least', password: 'secret' }
    })
    t.teardown(() => least.disconnect())
    const [writer, reader] = [await boot(t, least), await boot(t, least)]
    await until('both listen', async () => (await Promise.all(nodes.map(
      async ({ client }) => (await client.pubsub('NUMSUB', CHANNEL) as [string, number])[1]
    ))).reduce((a, b) => a + b) === 2)
    await writer!.maintenance.set(true)
    await until('followed', () => reader!.maintenance.active)
    t.equal((await reader!.maintenance.history()).length, 1)
    await Promise.all([writer!.app.close(), reader!.app.close()])
  })

  await t.test('with a password that changes', async t => {
    const setUser = (...rules: string[]) => Promise.all(nodes.map(
      ({ client }) => client.call('ACL', 'SETUSER', 'turns', 'on', '~*', '&*', '+@all', 'resetpass', ...rules)
    ))
    await setUser('>hunter1')
    const redisOptions = { username: 'turns', password: 'hunter1', keyPrefix: 'turns:' }
    const turns =
      new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })), { lazyConnect: true, redisOptions })
    turns.on('error', () => {})
    t.teardown(() => turns.disconnect())
    const { app, maintenance, status } = await boot(t, turns, { store: { pollInterval: 300 } })
    t.match(await maintenance.set(true), { active: true })
    t.equal(
      (await Promise.all(nodes.map(({ client }) => client.exists(`turns:${KEY}`).catch(() => 0)))).includes(1),
      true,
      'the prefix occurs once'
    )
    await setUser('>hunter2')
    await Promise.all(nodes.map(({ client }) => client.call('CLIENT', 'KILL', 'USER', 'turns')))
    await until('disconnected', () => !status().store.connected)
    t.comment(`the error reads: ${status().store.error}`)
    turns.options.redisOptions!.password = 'hunter2'
    await until('recovered', () => status().store.connected)
    t.match(await maintenance.set(false), { active: false })
    await app.close()
  })

  const owner = (await Promise.all(nodes.map(async node => [
    node, await node.client.exists(`app:${KEY}`).catch(() => 0), await node.client.info('replication')
  ] as const)))
    .find(([, held, info]) => held === 1 && info.includes('role:master'))![0]
  const begin = Date.now()
  // its connections stay open: only missing answers show it
  owner.stop()
  await until(
    'the cluster writes again',
    () => one.maintenance.set(false, { by: 'after' }).then(() => true, () => false)
  )
  t.comment(`Cluster: written again ${Date.now() - begin} ms after the owner was stopped`)
  await until('followed by hint or watchdog', () => !two.maintenance.active)
  t.match(two.maintenance.for('shop').status(), { active: true, by: 'shop' })
  await until('both listen again', async () => {
    const counts = await Promise.all(nodes.filter(node => node !== owner).map(
      async ({ client }) => (await client.pubsub('NUMSUB', `app:${CHANNEL}`) as [string, number])[1]
    ))
    return counts.reduce((a, b) => a + b) === 2
  })
  await one.maintenance.set(true)
  await until('followed', () => two.maintenance.active)
  await t.resolves(Promise.all([one.app.close(), two.app.close()]))
})
