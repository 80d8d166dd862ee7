import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore } from '../../types/index.ts'

/** A new, empty storage. */
export interface StoreUnderTest {
  /**
   * Opens another handle on this storage, as another server would. A store that lives in one process may return the
   * same one.
   */
  connect (): MaintenanceStore | Promise<MaintenanceStore>
  /** Removes the storage. Called at the end of the check, when all handles are closed. */
  remove? (): void | Promise<void>
}

/** One requirement of the contract, to run as one test. */
export interface StoreCheck {
  /** What is required, as the name of the test. */
  readonly name: string
  /** Runs the check on a new storage; rejects with an `AssertionError` if the store fails it. */
  run (): Promise<void>
}

/** Opens a handle; what was opened is closed at the end. */
type Connect = () => Promise<MaintenanceStore>

/**
 * Returns the contract of a store as a list of tests, for any test runner.
 * @param create called once for each check
 * @example
 * ```ts
 * import { test } from 'node:test'
 * import { storeContract } from 'fastify-maintenance/store-contract'
 *
 * const create = async () => {
 *   const table = await createEmptyTable()
 *   return { connect: () => new MyStore(table), remove: () => table.drop() }
 * }
 * for (const { name, run } of storeContract(create)) test(name, run)
 * ```
 */
export function storeContract (create: () => StoreUnderTest | Promise<StoreUnderTest>): StoreCheck[] {
  return Object.entries(CHECKS).map(([name, check]) => ({
    name: `a store ${name}`,
    async run () {
      const storage = await create()
      const handles: MaintenanceStore[] = []
      try {
        await check(async () => {
          const store = await storage.connect()
          handles.push(store)
          return store
        })
      } finally {
        for (const store of handles) await store.close()
        await storage.remove?.()
      }
    }
  }))
}

/** Letters of all kinds, and characters that a store might split at, quote, trim or parse. */
const RECORDS = [
  '{"v":1,"on":true}',
  'no JSON',
  ' \'"`\\ \n\r\n\t ',
  'Grüße, 世界 🚧, e\u0301',
  '{"__proto__":{"on":true}}',
  '%s $1 {{x}} \u0001',
  'null',
  '0',
  'x'.repeat(10_240)
]

/** All of them valid names of sites, and all of them different. */
const SITES = [
  'default',
  'A',
  'a',
  'a.b',
  'a-b',
  'a_b',
  'a.b.c',
  '0',
  '00',
  'constructor',
  'toString',
  'hasOwnProperty',
  'x'.repeat(64),
  'x'.repeat(63)
]

/** As a server names itself: a UUID of each start. */
const SERVERS = [
  '0b2a2a3e-1c1f-4f0e-9a55-6d2d4b1f0001',
  '0b2a2a3e-1c1f-4f0e-9a55-6d2d4b1f0002',
  '0b2a2a3e-1c1f-4f0e-9a55-6d2d4b1f0003'
] as const
// ms
const MINUTE = 60_000
const DAY = 86_400_000
const FORGOTTEN_WITHIN = 3000

/** A store without heartbeats passes the checks of servers. */
const keepsServers = (
  store: MaintenanceStore
): store is MaintenanceStore & Required<Pick<MaintenanceStore, 'heartbeat' | 'heartbeats'>> =>
  store.heartbeat !== undefined && store.heartbeats !== undefined

const CHECKS: Record<string, (connect: Connect) => Promise<void>> = {
  async 'reads null if nothing was written' (connect) {
    const store = await connect()
    for (const site of SITES) equal(await store.read(site), null, `read('${site}')`)
    await store.write('another', 'record', { revision: 1 })
    for (const site of SITES) equal(await store.read(site), null, `read('${site}') once another site is written`)
  },

  async 'returns every text exactly as it was written' (connect) {
    const store = await connect()
    for (const [i, record] of RECORDS.entries()) {
      await store.write('a', record, { revision: i + 1 })
      equal(await store.read('a'), record, 'read() must return the text that was written last')
    }
  },

  async 'keeps sites apart' (connect) {
    const store = await connect()
    for (const site of SITES) await store.write(site, `record of ${site}`, { revision: 1, expectedRevision: 0 })
    for (const site of SITES) {
      equal(await store.read(site), `record of ${site}`, `read('${site}') after every site was written`)
    }
    await store.write('a', 'second', { revision: 2, expectedRevision: 1 })
    for (const site of SITES) {
      equal(
        await store.read(site),
        site === 'a' ? 'second' : `record of ${site}`,
        `read('${site}') after a second write to 'a'`
      )
    }
  },

  async 'writes if the stored revision is the expected one' (connect) {
    const store = await connect()
    const late = Date.now()
    await store.write('a', 'first', { revision: 7, expectedRevision: 0 })
    await store.write('a', 'second', { revision: late, expectedRevision: 7 })
    await store.write('a', 'third', { revision: late + 1, expectedRevision: late })
    equal(await store.read('a'), 'third', 'three writes that expect the stored revision must all be accepted')
  },

  async 'rejects another expected revision, and changes nothing' (connect) {
    const store = await connect()
    await store.write('a', 'first', { revision: 7 })
    for (const expected of [6, 8, Date.now()]) {
      await refuses(store.write('a', 'second', { revision: 9, expectedRevision: expected }))
      equal(await store.read('a'), 'first', 'a rejected write must change nothing')
    }
    await store.write('a', 'second', { revision: 9, expectedRevision: 7 })
    equal(await store.read('a'), 'second', 'after a refusal, the stored revision is still the old one')
  },

  async 'writes with the expected revision 0 only if nothing is stored' (connect) {
    const store = await connect()
    await store.write('a', 'first', { revision: 7, expectedRevision: 0 })
    await refuses(store.write('a', 'second', { revision: 8, expectedRevision: 0 }))
    equal(await store.read('a'), 'first', 'a rejected write must change nothing')
  },

  async 'rejects an expected revision if nothing is stored' (connect) {
    const store = await connect()
    await store.write('b', 'of another site', { revision: 7 })
    await refuses(store.write('a', 'first', { revision: 8, expectedRevision: 7 }))
    equal(await store.read('a'), null, 'a rejected write must change nothing')
  },

  async 'writes over anything without an expected revision' (connect) {
    const store = await connect()
    await store.write('a', 'first', { revision: 7 })
    await store.write('a', 'same revision', { revision: 7 })
    equal(await store.read('a'), 'same revision', 'the same revision must be written')
    await store.write('a', 'lower revision', { revision: 3 })
    equal(await store.read('a'), 'lower revision', 'a lower revision must be written: it repairs a damaged record')
    await store.write('a', 'next', { revision: 4, expectedRevision: 3 })
    equal(await store.read('a'), 'next', 'the revision of such a write counts for the next one')
  },

  async 'shows each server what another has written' (connect) {
    const [one, other] = [await connect(), await connect()]
    equal(await other.read('a'), null, 'nothing was written yet')
    await one.write('a', 'first', { revision: 1, expectedRevision: 0 })
    equal(await other.read('a'), 'first', 'another server must see a write as soon as it resolves')
    await refuses(other.write('a', 'second', { revision: 2, expectedRevision: 0 }))
    await other.write('a', 'second', { revision: 2, expectedRevision: 1 })
    equal(await one.read('a'), 'second', 'another server must see a write as soon as it resolves')
  },

  async 'shows what was written although other reads are under way' (connect) {
    const store = await connect()
    for (let revision = 1; revision <= 10; revision++) {
      const writing = store.write('a', `record ${revision}`, { revision })
      const reads = Array.from({ length: 5 }, () => store.read('a'))
      await writing
      reads.push(store.read('b'), store.read('a'))
      equal((await Promise.all(reads)).at(-1), `record ${revision}`, 'a read that begins after a write must return it')
    }
  },

  async 'lets exactly one of many concurrent writes win' (connect) {
    const handles = [await connect(), await connect(), await connect()]
    for (const expected of [0, 100]) {
      const writes = Array.from({ length: 20 }, (_, i) =>
        handles[i % handles.length]!.write('a', `writer ${i}`, {
          revision: expected === 0 ? 100 : 200 + i,
          expectedRevision: expected
        })
      )
      const settled = await Promise.allSettled(writes)
      for (const result of settled) if (result.status === 'rejected') isConflict(result.reason)
      const winners = settled.flatMap(({ status }, i) => status === 'fulfilled' ? [`writer ${i}`] : [])
      equal(winners.length, 1, `${winners.length} of 20 writes that expected revision ${expected} were accepted`)
      deepEqual(
        await Promise.all(handles.map(store => store.read('a'))),
        handles.map(() => winners[0]),
        'every server must read the write that was accepted'
      )
    }
  },

  async 'loses no site when many are written at once' (connect) {
    const handles = [await connect(), await connect()]
    await Promise.all(
      SITES.map((site, i) => handles[i % 2]!.write(site, `record of ${site}`, { revision: 1, expectedRevision: 0 }))
    )
    for (const site of SITES) {
      equal(await handles[0]!.read(site), `record of ${site}`, `read('${site}') after all sites were written at once`)
    }
  },

  async 'has both heartbeat and heartbeats, or neither' (connect) {
    const store = await connect()
    equal(typeof store.heartbeat, typeof store.heartbeats, 'a store needs both, or servers cannot find each other')
  },

  async 'returns the last entry of each server exactly as it was written' (connect) {
    const store = await connect()
    if (!keepsServers(store)) return
    deepEqual(await store.heartbeats(), [], 'heartbeats() before the first heartbeat()')
    for (const entry of RECORDS) {
      await store.heartbeat(SERVERS[0], entry, MINUTE)
      deepEqual(await store.heartbeats(), [entry], 'a server has one entry: the last one')
    }
    for (const id of SERVERS) await store.heartbeat(id, `entry of ${id}`, MINUTE)
    deepEqual(
      (await store.heartbeats()).sort(),
      SERVERS.map(id => `entry of ${id}`),
      'each server has an entry of its own'
    )
  },

  async 'shows each server the entries of others, and removes an entry whose ttl is 0' (connect) {
    const [one, other] = [await connect(), await connect()]
    if (!keepsServers(one) || !keepsServers(other)) return
    await one.heartbeat(SERVERS[0], 'one', MINUTE)
    await other.heartbeat(SERVERS[1], 'other', MINUTE)
    for (const store of [one, other]) {
      deepEqual((await store.heartbeats()).sort(), ['one', 'other'], 'each server must see both entries')
    }
    await one.heartbeat(SERVERS[0], '', 0)
    await one.heartbeat(SERVERS[2], '', 0)
    for (const store of [one, other]) {
      deepEqual(await store.heartbeats(), ['other'], 'a ttl of 0 must remove the entry of that server, and no other')
    }
  },

  async 'forgets an entry when its ttl is over, and no other' (connect) {
    const store = await connect()
    if (!keepsServers(store)) return
    await store.heartbeat(SERVERS[0], 'stays', MINUTE)
    await store.heartbeat(SERVERS[1], 'first', 50)
    await store.heartbeat(SERVERS[1], 'heard of again', MINUTE)
    await store.heartbeat(SERVERS[2], 'goes', 50)
    const deadline = Date.now() + FORGOTTEN_WITHIN
    while ((await store.heartbeats()).includes('goes') && Date.now() < deadline) await sleep(20)
    deepEqual(
      (await store.heartbeats()).sort(),
      ['heard of again', 'stays'],
      'only an entry whose last ttl is over may be gone'
    )
  },

  async 'lists the history of each site, newest first' (connect) {
    const store = await connect()
    if (store.listHistory === undefined) return
    const add = async (site: string, entry: string, revision: number) => {
      await store.write(site, entry, { revision })
      await store.appendHistory?.(site, entry)
    }
    for (let revision = 1; revision <= 3; revision++) await add('a', `change ${revision}`, revision)
    await add('b', 'of another site', 1)
    deepEqual(
      await store.listHistory('a', 10),
      ['change 3', 'change 2', 'change 1'],
      'listHistory() must return each change of this site, newest first'
    )
    deepEqual(
      await store.listHistory('a', 2),
      ['change 3', 'change 2'],
      'listHistory() must return at most the number of entries asked for'
    )
    deepEqual(await store.listHistory('never', 10), [], 'a site without changes has an empty history')
    if (store.appendHistory !== undefined) return
    await store.write('a', 'renewal', { revision: 4, skipHistory: true })
    equal((await store.listHistory('a', 1))[0], 'change 3', 'a write with skipHistory must stay out of the history')
  },

  async 'returns the records of all sites, if it has readAll' (connect) {
    const store = await connect()
    if (store.readAll === undefined) return
    deepEqual([...await store.readAll()], [], 'readAll() before the first write')
    for (const site of SITES) await store.write(site, `record of ${site}`, { revision: 1 })
    deepEqual(
      [...(await store.readAll())].sort(),
      SITES.map(site => [site, `record of ${site}`]).sort(),
      'readAll() must return every site with its record'
    )
  },

  async 'has a clock in milliseconds, if it has one' (connect) {
    const store = await connect()
    if (store.now === undefined) return
    await store.read('a')
    const now = store.now()
    ok(
      Number.isInteger(now) && Math.abs(now - Date.now()) < DAY,
      `now() must return milliseconds since 1970 as an integer, not ${now}`
    )
  },

  async 'can be watched, and closed twice' (connect) {
    const [watching, writing] = [await connect(), await connect()]
    await watching.watch(() => {})
    await writing.write('a', 'first', { revision: 1, expectedRevision: 0 })
    equal(await watching.read('a'), 'first', 'a store must be readable while it is watched')
    await watching.close()
    await watching.close()
    if (writing !== watching) equal(await writing.read('a'), 'first', 'closing one handle ends the other')
  }
}

async function refuses (write: Promise<void>): Promise<void> {
  await rejects(write, error => isConflict(error))
}

/** @throws if the store rejects for another reason */
function isConflict (error: unknown): true {
  equal(
    (error as { code?: unknown } | null)?.code,
    'FST_ERR_MAINTENANCE_CONFLICT',
    `a conflict rejects with the code FST_ERR_MAINTENANCE_CONFLICT, not with ${error}`
  )
  return true
}
