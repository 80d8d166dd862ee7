import { deepEqual, equal, rejects } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore } from '../../types/index.ts'

/** A new, empty storage. */
export interface StoreUnderTest {
  /** Opens another handle on this storage, as another server would. A store that lives in one process may return the same one. */
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

/** Letters of all kinds, and everything that someone might split, quote, trim or parse. */
const RECORDS = ['{"v":1,"on":true}', 'no JSON', ' \'"`\\ \n\r\n\t ', 'Grüße, 世界 🚧, e\u0301', '{"__proto__":{"on":true}}', '%s $1 {{x}} \u0001', 'null', '0', 'x'.repeat(10_240)]

/** All of them valid names of sites, and all of them different. */
const SITES = ['default', 'A', 'a', 'a.b', 'a-b', 'a_b', 'a.b.c', '0', '00', 'constructor', 'toString', 'hasOwnProperty', 'x'.repeat(64), 'x'.repeat(63)]

/** As a server names itself: a UUID of each start. */
const SERVERS = ['0b2a2a3e-1c1f-4f0e-9a55-6d2d4b1f0001', '0b2a2a3e-1c1f-4f0e-9a55-6d2d4b1f0002', '0b2a2a3e-1c1f-4f0e-9a55-6d2d4b1f0003'] as const
// ms
const MINUTE = 60_000
const FORGOTTEN_WITHIN = 3000

/** The other checks of servers have nothing to say of a store that keeps none. */
const keepsServers = (store: MaintenanceStore): store is MaintenanceStore & Required<Pick<MaintenanceStore, 'heartbeat' | 'heartbeats'>> =>
  store.heartbeat !== undefined && store.heartbeats !== undefined

const CHECKS: Record<string, (connect: Connect) => Promise<void>> = {
  async 'reads null where nothing was ever written' (connect) {
    const store = await connect()
    for (const site of SITES) equal(await store.read(site), null, `read('${site}')`)
    await store.write('another', 'record', { revision: 1 })
    for (const site of SITES) equal(await store.read(site), null, `read('${site}') once another site is written`)
  },

  async 'gives back every text as it was written' (connect) {
    const store = await connect()
    for (const [i, record] of RECORDS.entries()) {
      await store.write('a', record, { revision: i + 1 })
      equal(await store.read('a'), record)
    }
  },

  async 'keeps sites apart' (connect) {
    const store = await connect()
    for (const site of SITES) await store.write(site, `record of ${site}`, { revision: 1, expectedRevision: 0 })
    for (const site of SITES) equal(await store.read(site), `record of ${site}`)
    await store.write('a', 'second', { revision: 2, expectedRevision: 1 })
    for (const site of SITES) equal(await store.read(site), site === 'a' ? 'second' : `record of ${site}`)
  },

  async 'writes where the expected revision is the stored one' (connect) {
    const store = await connect()
    const late = Date.now()
    await store.write('a', 'first', { revision: 7, expectedRevision: 0 })
    await store.write('a', 'second', { revision: late, expectedRevision: 7 })
    await store.write('a', 'third', { revision: late + 1, expectedRevision: late })
    equal(await store.read('a'), 'third')
  },

  async 'refuses another expected revision, and changes nothing' (connect) {
    const store = await connect()
    await store.write('a', 'first', { revision: 7 })
    for (const expected of [6, 8, Date.now()]) {
      await refuses(store.write('a', 'second', { revision: 9, expectedRevision: expected }))
      equal(await store.read('a'), 'first')
    }
    await store.write('a', 'second', { revision: 9, expectedRevision: 7 })
    equal(await store.read('a'), 'second', 'after a refusal, the stored revision is still the old one')
  },

  async 'takes the expected revision 0 for: nothing is stored' (connect) {
    const store = await connect()
    await store.write('a', 'first', { revision: 7, expectedRevision: 0 })
    await refuses(store.write('a', 'second', { revision: 8, expectedRevision: 0 }))
    equal(await store.read('a'), 'first')
  },

  async 'refuses an expected revision where nothing is stored' (connect) {
    const store = await connect()
    await store.write('b', 'of another site', { revision: 7 })
    await refuses(store.write('a', 'first', { revision: 8, expectedRevision: 7 }))
    equal(await store.read('a'), null)
  },

  async 'writes whatever is stored where no revision is expected' (connect) {
    const store = await connect()
    await store.write('a', 'first', { revision: 7 })
    await store.write('a', 'same revision', { revision: 7 })
    equal(await store.read('a'), 'same revision')
    await store.write('a', 'lower revision', { revision: 3 })
    equal(await store.read('a'), 'lower revision')
    await store.write('a', 'next', { revision: 4, expectedRevision: 3 })
    equal(await store.read('a'), 'next')
  },

  async 'shows one handle what another has written' (connect) {
    const [one, other] = [await connect(), await connect()]
    equal(await other.read('a'), null)
    await one.write('a', 'first', { revision: 1, expectedRevision: 0 })
    equal(await other.read('a'), 'first')
    await refuses(other.write('a', 'second', { revision: 2, expectedRevision: 0 }))
    await other.write('a', 'second', { revision: 2, expectedRevision: 1 })
    equal(await one.read('a'), 'second')
  },

  async 'shows what is written also while other reads are under way' (connect) {
    const store = await connect()
    for (let revision = 1; revision <= 10; revision++) {
      const writing = store.write('a', `record ${revision}`, { revision })
      const reads = Array.from({ length: 5 }, () => store.read('a'))
      await writing
      reads.push(store.read('b'), store.read('a'))
      equal((await Promise.all(reads)).at(-1), `record ${revision}`)
    }
  },

  async 'lets one of many win who write at once with the same expected revision' (connect) {
    const handles = [await connect(), await connect(), await connect()]
    for (const expected of [0, 100]) {
      const writes = Array.from({ length: 20 }, (_, i) =>
        handles[i % handles.length]!.write('a', `writer ${i}`, { revision: expected === 0 ? 100 : 200 + i, expectedRevision: expected }))
      const settled = await Promise.allSettled(writes)
      for (const result of settled) if (result.status === 'rejected') isConflict(result.reason)
      const winners = settled.flatMap(({ status }, i) => status === 'fulfilled' ? [`writer ${i}`] : [])
      equal(winners.length, 1, `${winners.length} of 20 writes that expected revision ${expected} were accepted`)
      deepEqual(await Promise.all(handles.map(store => store.read('a'))), handles.map(() => winners[0]))
    }
  },

  async 'loses no other site while many write at once' (connect) {
    const handles = [await connect(), await connect()]
    await Promise.all(SITES.map((site, i) => handles[i % 2]!.write(site, `record of ${site}`, { revision: 1, expectedRevision: 0 })))
    for (const site of SITES) equal(await handles[0]!.read(site), `record of ${site}`)
  },

  async 'can be told of servers and asked for them, or neither' (connect) {
    const store = await connect()
    equal(typeof store.heartbeat, typeof store.heartbeats, 'heartbeat and heartbeats belong together')
  },

  async 'gives back what a server told last, as it was written' (connect) {
    const store = await connect()
    if (!keepsServers(store)) return
    deepEqual(await store.heartbeats(), [], 'where nobody ever told anything')
    for (const entry of RECORDS) {
      await store.heartbeat(SERVERS[0], entry, MINUTE)
      deepEqual(await store.heartbeats(), [entry])
    }
    for (const id of SERVERS) await store.heartbeat(id, `entry of ${id}`, MINUTE)
    deepEqual((await store.heartbeats()).sort(), SERVERS.map(id => `entry of ${id}`))
  },

  async 'shows one handle the servers of another, and forgets the one that leaves' (connect) {
    const [one, other] = [await connect(), await connect()]
    if (!keepsServers(one) || !keepsServers(other)) return
    await one.heartbeat(SERVERS[0], 'one', MINUTE)
    await other.heartbeat(SERVERS[1], 'other', MINUTE)
    for (const store of [one, other]) deepEqual((await store.heartbeats()).sort(), ['one', 'other'])
    await one.heartbeat(SERVERS[0], '', 0)
    await one.heartbeat(SERVERS[2], '', 0)
    for (const store of [one, other]) deepEqual(await store.heartbeats(), ['other'])
  },

  async 'forgets a server that is not heard of in time, and no other' (connect) {
    const store = await connect()
    if (!keepsServers(store)) return
    await store.heartbeat(SERVERS[0], 'stays', MINUTE)
    await store.heartbeat(SERVERS[1], 'first', 50)
    await store.heartbeat(SERVERS[1], 'heard of again', MINUTE)
    await store.heartbeat(SERVERS[2], 'goes', 50)
    const deadline = Date.now() + FORGOTTEN_WITHIN
    while ((await store.heartbeats()).includes('goes') && Date.now() < deadline) await sleep(20)
    deepEqual((await store.heartbeats()).sort(), ['heard of again', 'stays'])
  },

  async 'can be watched, and closed twice' (connect) {
    const [watching, writing] = [await connect(), await connect()]
    await watching.watch(() => {})
    await writing.write('a', 'first', { revision: 1, expectedRevision: 0 })
    equal(await watching.read('a'), 'first')
    await watching.close()
    await watching.close()
    if (writing !== watching) equal(await writing.read('a'), 'first', 'closing one handle ends the other')
  }
}

async function refuses (write: Promise<void>): Promise<void> {
  await rejects(write, error => isConflict(error))
}

/** @throws what a store that fails for another reason must not hide behind */
function isConflict (error: unknown): true {
  equal((error as { code?: unknown } | null)?.code, 'FST_ERR_MAINTENANCE_CONFLICT', `a conflict rejects with the code FST_ERR_MAINTENANCE_CONFLICT, not with ${error}`)
  return true
}
