import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { FastifyInstance } from 'fastify'
import { readFileSync } from 'node:fs'
import { ConflictError } from '../lib/errors.ts'
import { storeContract, type StoreUnderTest } from '../lib/stores/contract.ts'
import { createFileStore } from '../lib/stores/file/file-store.ts'
import { openStore } from '../lib/stores/open.ts'
import { createMemoryStore } from '../lib/stores/memory.ts'
import type { MaintenanceStore, WriteOptions } from '../types/index.ts'
import { createEtcdStore } from '../examples/etcd-store.ts'
import maintenance from '../index.ts'
import { bareApp, until } from './fixtures/app.ts'
import { blocksOf, runPiece } from './fixtures/docs.ts'
import { noEtcd, startEtcd } from './fixtures/etcd.ts'

function memory (): StoreUnderTest {
  const store = createMemoryStore()
  return { connect: () => store }
}

async function file (): Promise<StoreUnderTest> {
  const directory = await mkdtemp(join(tmpdir(), 'maintenance-contract-'))
  return {
    connect: async () => (await openStore({ file: join(directory, 'state.json') }, [])).store,
    remove: () => rm(directory, { recursive: true })
  }
}

for (const [kind, create] of Object.entries({ memory, file })) {
  t.test(`the ${kind} store`, async t => {
    for (const { name, run } of storeContract(create)) t.test(name, t => t.resolves(run()))
  })
}

type Records = Map<string, { record: string, revision: number }>
type Parts = (sites: Records) => Partial<MaintenanceStore>
interface Beat { id: string, entry: string, until: number }

/** The servers of a storage. */
const servers = new WeakMap<Records, Beat[]>()
const beatsOf = (sites: Records): Beat[] => servers.get(sites) ?? []

const honest = (sites: Records) => ({
  read: async site => sites.get(site)?.record ?? null,
  async write (site, record, { revision, expectedRevision }) {
    const stored = sites.get(site)?.revision ?? 0
    if (expectedRevision !== undefined && expectedRevision !== stored) throw new ConflictError(stored, expectedRevision)
    sites.set(site, { record, revision })
  },
  async heartbeat (id, entry, ttl) {
    const others = beatsOf(sites).filter(other => other.id !== id)
    servers.set(sites, ttl === 0 ? others : [...others, { id, entry, until: Date.now() + ttl }])
  },
  heartbeats: async () => beatsOf(sites).filter(beat => beat.until > Date.now()).map(({ entry }) => entry),
  watch () {},
  close () {}
}) satisfies MaintenanceStore

/** A correct store, except for the methods in `parts`. */
function storeOf (parts: Parts): () => StoreUnderTest {
  return () => {
    const sites: Records = new Map()
    return { connect: () => ({ ...honest(sites), ...parts(sites) }) }
  }
}

const renamed = (nameOf: (site: string) => string): Parts => sites => ({
  read: site => honest(sites).read(nameOf(site)),
  write: (site, record, condition) => honest(sites).write(nameOf(site), record, condition)
})

const changed = (change: (record: string) => string): Parts => sites => ({
  write: (site, record, condition) => honest(sites).write(site, change(record), condition)
})

const conditioned = (change: (condition: WriteOptions) => WriteOptions): Parts => sites => ({
  write: (site, record, condition) => honest(sites).write(site, record, change(condition))
})

/** A history that `write` adds to; `shown` selects the entries that are returned. */
const withHistory = (shown: (list: string[], all: string[]) => string[], skipsNothing = false): Parts => sites => {
  const entries: [site: string, entry: string][] = []
  return {
    async write (site, record, condition) {
      await honest(sites).write(site, record, condition)
      if (skipsNothing || condition.skipHistory !== true) entries.unshift([site, record])
    },
    async listHistory (site, limit) {
      const all = entries.filter(([name]) => name === site).map(([, entry]) => entry)
      return shown(all.slice(0, limit), all)
    }
  }
}

const HISTORY = 'lists the history of each site, newest first'
const BEATS = 'returns the last entry of each server exactly as it was written'
const LEAVING = 'shows each server the entries of others, and removes an entry whose ttl is 0'
const EXPIRY = 'forgets an entry when its ttl is over, and no other'

const withoutExpected = ({ revision }: WriteOptions): WriteOptions => ({ revision })

/** Broken stores, each with the check that must find the fault. */
const BROKEN: [wrong: string, parts: Parts, found: string][] = [
  ['ignores the expected revision', conditioned(
    withoutExpected
  ), 'rejects another expected revision, and changes nothing'],
  ['treats 0 as no condition', conditioned(
    condition => condition.expectedRevision === 0 ? withoutExpected(condition) : condition
  ), 'writes with the expected revision 0 only if nothing is stored'],
  ['treats no condition as 0', conditioned(
    ({ revision, expectedRevision = 0 }) => ({ revision, expectedRevision })
  ), 'writes over anything without an expected revision'],
  ['keeps all sites in one', renamed(() => 'all'), 'keeps sites apart'],
  ['folds the case of names', renamed(site => site.toLowerCase()), 'keeps sites apart'],
  ['cuts names at a dot', renamed(site => site.split('.')[0]!), 'keeps sites apart'],
  ['cuts long names', renamed(site => site.slice(0, 63)), 'keeps sites apart'],
  ['trims', changed(record => record.trim()), 'returns every text exactly as it was written'],
  ['knows Latin-1 only', changed(
    record => Buffer.from(record, 'latin1').toString('latin1')
  ), 'returns every text exactly as it was written'],
  ['parses what it stores', changed(
    record => JSON.stringify(JSON.parse(record))
  ), 'returns every text exactly as it was written'],
  ['has room for 8 KiB', changed(record => record.slice(0, 8192)), 'returns every text exactly as it was written'],
  ['looks names up in a plain object', sites => ({
    read: async site => (Object.assign({}, Object.fromEntries(
      sites
    )) as Record<string, { record: string }>)[site]?.record ?? (site in {} ? '' : null)
  }), 'reads null if nothing was written'],
  ['returns undefined for nothing', sites => ({
    read: async site => sites.get(site)?.record as string
  }), 'reads null if nothing was written'],
  ['reports a conflict with its own error', sites => ({
    write: (site, record, condition) =>
      honest(sites).write(site, record, condition).catch(() => { throw new Error('no') })
  }), 'rejects another expected revision, and changes nothing'],
  ['resolves on a conflict', sites => ({
    write: (site, record, condition) => honest(sites).write(site, record, condition).catch(() => {})
  }), 'rejects another expected revision, and changes nothing'],
  ['writes, and then compares', sites => ({
    async write (site, record, { revision, expectedRevision }) {
      const stored = sites.get(site)?.revision ?? 0
      sites.set(site, { record, revision })
      if (expectedRevision !== undefined && expectedRevision !== stored) {
        throw new ConflictError(stored, expectedRevision)
      }
    }
  }), 'rejects another expected revision, and changes nothing'],
  ['keeps the revision of a rejected write', sites => ({
    async write (site, record, { revision, expectedRevision }) {
      const stored = sites.get(site)
      if (expectedRevision !== undefined && expectedRevision !== (stored?.revision ?? 0)) {
        if (stored !== undefined) stored.revision = revision
        throw new ConflictError(stored?.revision, expectedRevision)
      }
      sites.set(site, { record, revision })
    }
  }), 'rejects another expected revision, and changes nothing'],
  ['rejects a lower revision as too old', sites => ({
    async write (site, record, { revision, expectedRevision }) {
      if ((sites.get(site)?.revision ?? 0) <= revision) {
        await honest(sites).write(site, record, {
          revision, ...expectedRevision === undefined ? {} : { expectedRevision }
        })
      }
    }
  }), 'writes over anything without an expected revision'],
  ['compares, waits, and writes', sites => ({
    async write (site, record, { revision, expectedRevision }) {
      const stored = sites.get(site)?.revision ?? 0
      if (expectedRevision !== undefined && expectedRevision !== stored) {
        throw new ConflictError(stored, expectedRevision)
      }
      await turn()
      sites.set(site, { record, revision })
    }
  }), 'lets exactly one of many concurrent writes win'],
  ['resolves before it has written', sites => ({
    write: async (...write) => { setImmediate(() => honest(sites).write(...write).catch(() => {})) }
  }), 'writes if the stored revision is the expected one'],
  ['copies all sites before a write, and back after it', sites => ({
    async write (site, record, condition) {
      const copy: Records = new Map(sites)
      await turn()
      await honest(copy).write(site, record, condition)
      sites.clear()
      for (const [name, entry] of copy) sites.set(name, entry)
    }
  }), 'loses no site when many are written at once'],
  ['caches its reads', sites => {
    const cache = new Map<string, string | null>()
    return {
      async read (site) {
        if (!cache.has(site)) cache.set(site, await honest(sites).read(site))
        return cache.get(site) ?? null
      },
      async write (site, record, condition) {
        await honest(sites).write(site, record, condition)
        cache.set(site, record)
      }
    }
  }, 'shows each server what another has written'],
  ['shares a read that began before the write', sites => {
    let reading: Promise<string | null> | null = null
    return {
      read (site) {
        reading ??= (async () => {
          const record = await honest(sites).read(site)
          await turn()
          return record
        })().finally(() => { reading = null })
        return reading
      },
      async write (site, record, condition) {
        await Promise.resolve()
        await honest(sites).write(site, record, condition)
      }
    }
  }, 'shows what was written although other reads are under way'],
  ['accepts heartbeats without returning them', () => ({
    heartbeats: undefined
  } as never), 'has both heartbeat and heartbeats, or neither'],
  ['returns heartbeats without accepting them', () => ({
    heartbeat: undefined
  } as never), 'has both heartbeat and heartbeats, or neither'],
  ['truncates heartbeats', sites => ({
    heartbeat: (id, entry, ttl) => honest(sites).heartbeat(id, entry.slice(0, 8192), ttl)
  }), BEATS],
  ['keeps one server', sites => ({ heartbeat: (_id, entry, ttl) => honest(sites).heartbeat('', entry, ttl) }), BEATS],
  ['keeps every heartbeat of a server', sites => ({
    heartbeat: (_id, entry, ttl) => honest(sites).heartbeat(entry, entry, ttl)
  }), BEATS],
  ['invents a server', sites => ({ heartbeats: async () => [...await honest(sites).heartbeats(), 'one more'] }), BEATS],
  ['keeps servers to itself', () => {
    const { heartbeat, heartbeats } = honest(new Map())
    return { heartbeat, heartbeats }
  }, LEAVING],
  ['forgets all when one leaves', sites => ({
    async heartbeat (id, entry, ttl) {
      if (ttl === 0) servers.set(sites, [])
      else await honest(sites).heartbeat(id, entry, ttl)
    }
  }), LEAVING],
  ['keeps servers that leave', sites => ({
    async heartbeat (id, entry, ttl) { if (ttl > 0) await honest(sites).heartbeat(id, entry, ttl) }
  }), LEAVING],
  ['never forgets a server', sites => ({
    heartbeat: (id, entry, ttl) => honest(sites).heartbeat(id, entry, ttl * 1e6)
  }), EXPIRY],
  ['counts from the first heartbeat', sites => ({
    async heartbeat (id, entry, ttl) {
      const known = beatsOf(sites).find(beat => beat.id === id)
      await honest(sites).heartbeat(id, entry, ttl)
      if (known !== undefined) Object.assign(beatsOf(sites).find(beat => beat.id === id) ?? {}, { until: known.until })
    }
  }), EXPIRY],
  ['forgets all servers with the first', sites => ({
    heartbeats: async () =>
      beatsOf(sites).some(beat => beat.until <= Date.now()) ? [] : await honest(sites).heartbeats()
  }), EXPIRY],
  ['lists the oldest change first', withHistory(list => list.reverse()), HISTORY],
  ['lists more than requested', withHistory((_list, all) => all), HISTORY],
  ['keeps skipped entries', withHistory(list => list, true), HISTORY],
  ['returns one site of all', sites => ({
    readAll: async () => new Map([...sites].slice(0, 1).map(([site, { record }]) => [site, record]))
  }), 'returns the records of all sites, if it has readAll'],
  ['has a clock in seconds', () => ({
    now: () => Math.floor(Date.now() / 1000)
  }), 'has a clock in milliseconds, if it has one'],
  ['cannot be watched', () => ({ watch: () => { throw new Error('not here') } }), 'can be watched, and closed twice'],
  ['clears all sites when it closes', sites => ({ close: () => sites.clear() }), 'can be watched, and closed twice'],
  ['closes only once', () => {
    let closed = false
    return {
      close () {
        if (closed) throw new Error('closed already')
        closed = true
      }
    }
  }, 'can be watched, and closed twice']
]

t.test('the contract finds a store that', async t => {
  for (const [wrong, parts, found] of BROKEN) {
    t.test(wrong, async t => {
      const check = storeContract(storeOf(parts)).find(({ name }) => name === `a store ${found}`)
      if (check === undefined) return t.fail(`there is no check '${found}'`)
      await t.rejects(check.run())
    })
  }
})

t.test('the contract accepts the store that the broken ones are made of', async t => {
  for (const parts of [() => ({}), withHistory(list => list)]) {
    for (const { name, run } of storeContract(storeOf(parts))) t.test(name, t => t.resolves(run()))
  }
})

t.test('a check that fails closes and removes its store', async t => {
  const seen: string[] = []
  const create = (): StoreUnderTest => ({
    connect: () => ({ ...honest(new Map()), read: async () => 'never written', close: () => { seen.push('closed') } }),
    remove: () => { seen.push('removed') }
  })
  await t.rejects(storeContract(create)[0]!.run())
  t.same(seen, ['closed', 'removed'])
})

t.test('the file store: readAll skips invalid entries', async t => {
  const file = join(t.testdir({
    'state.json': '{"v":1,"sites":{"shop":{"revision":7,"record":"a"},"blog":{"revision":"x"}}}'
  }), 'state.json')
  t.strictSame([...await createFileStore(file).readAll?.() ?? []], [['shop', 'a']])
})

t.test('the file store leaves only its file behind', async t => {
  const directory = t.testdir()
  for (const { run } of storeContract(() => ({
    connect: () => createFileStore(join(directory, 'state.json')),
    remove: () => rm(join(directory, 'state.json'), { force: true })
  }))) await run()
  t.same(await readdir(directory), [])
})

// The store of docs/custom-stores.md, on a real etcd.

t.test('the page shows the tested store, and it is short', async t => {
  const code = readFileSync('examples/etcd-store.ts', 'utf8')
  t.ok(
    readFileSync('docs/custom-stores.md', 'utf8').includes(`\`\`\`ts\n${code}\`\`\``),
    'docs/custom-stores.md contains examples/etcd-store.ts unchanged'
  )
  t.ok(code.split('\n').length - 1 < 60, 'under 60 lines')
})

t.test('the store in etcd', { skip: noEtcd }, async t => {
  const server = await startEtcd(t)
  const usage = blocksOf('docs/custom-stores.md').filter(({ language }) => language === 'ts')[1]?.code ?? ''
  let prefixes = 0

  await t.test('passes the contract', async t => {
    const create = () => {
      const prefix = `/contract${prefixes++}`
      return { connect: () => createEtcdStore(server.url, prefix) }
    }
    for (const { name, run } of storeContract(create)) await t.test(name, t => t.resolves(run()))
  })

  await t.test('two servers: the other follows, and both keep their state while etcd is gone', async t => {
    const directory = await mkdtemp(join(tmpdir(), 'maintenance-etcd-mirrors-'))
    // a mirror may still be written after its server has closed
    t.teardown(() => rm(directory, { recursive: true, maxRetries: 10 }))
    const here = { createEtcdStore: () => createEtcdStore(server.url), maintenance }
    const [one, other] = await Promise.all(['one', 'other'].map(async name => {
      const { app } = bareApp(t)
      await runPiece(usage.replace('./maintenance-mirror', `${directory}/${name}`), { app, ...here })
      app.get('/', async () => 'open')
      await app.ready()
      return app
    })) as [FastifyInstance, FastifyInstance]
    await one.maintenance.set(true, { message: 'Moving', by: 'ops' })
    await until('the other follows', () => other.maintenance.active)
    t.equal((await other.inject('/')).statusCode, 503)
    await until('they see each other', async () => (await one.maintenance.servers()).length === 2)

    await server.kill()
    await other.maintenance.refresh()
    t.match(other.maintenance.status(), { active: true, store: { kind: 'custom', connected: false } })
    await t.rejects(one.maintenance.set(false), { code: /FST_ERR_MAINTENANCE_(STORE|OUTCOME_UNKNOWN)/ })
    t.equal(one.maintenance.active, true)

    await server.start()
    await until('it can be changed again', () => one.maintenance.set(false).then(() => true, () => false))
    await until('the other follows', () => !other.maintenance.active)
    await t.rejects(one.maintenance.set(true, { expectedRevision: 1 }), { code: 'FST_ERR_MAINTENANCE_CONFLICT' })
  })

  await t.test('a write notifies watchers', async () => {
    const [watching, writing] = [createEtcdStore(server.url, '/told'), createEtcdStore(server.url, '/told')]
    let hints = 0
    watching.watch(() => { hints++ })
    await until('it watches', () => hints === 1)
    await writing.write('shop', 'record', { revision: 1 })
    await until('notified', () => hints > 1)
    await Promise.all([watching.close(), writing.close()])
  })
})
