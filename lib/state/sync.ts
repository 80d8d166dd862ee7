import type { MaintenanceStore, Source } from '../../types/index.ts'
import type { Log } from '../util/log.ts'
import { isConflict, isOutcomeUnknown, messageOf } from '../errors.ts'
import { createQueue, createSharedRun } from '../util/queue.ts'
import { withTimeout } from '../util/timeout.ts'
import { createRecordParser, NEVER_WRITTEN, serialiseRecord, type StateRecord } from './record.ts'
import { readStored, updateRecord, type Next, type Stored } from './write.ts'

/** What this server knows of its site. */
export interface Known {
  readonly record: StateRecord
  readonly source: Source
}

/** How the store is doing, as `status().store` tells it. */
export interface StoreHealth {
  connected: boolean
  lastReadAt: string | null
  error: string | null
}

export interface Synchroniser {
  readonly known: Known
  readonly health: Readonly<StoreHealth>
  /** Reads the mirror, then the store. */
  start (): Promise<void>
  /** Reads the store now, or once more after the read that is under way. Never rejects. */
  refresh (): Promise<void>
  /** Writes the store, then this server. */
  set (next: Next, quiet?: boolean): Promise<void>
  close (): void
}

export interface SyncOptions {
  readonly store: MaintenanceStore
  /** Keeps the last known state, for boots while the store is away. */
  readonly mirror?: MaintenanceStore | undefined
  /** What is wrong with the store's clock; `null`: nothing. */
  readonly clockError?: () => string | null
  readonly site: string
  /** On or off while nothing was ever known. */
  readonly fallback: boolean
  readonly log: Log
  /** Called with everything newly known, one after the other. If it rejects, the next read brings the same again. */
  readonly adopt: (next: Known) => Promise<void>
}

/** A read that takes longer counts as failed, ms; booting waits for one. */
const READ_TIMEOUT = 3000
/** Several servers see a record vanish at once: they repair it one after the other, ms. */
const REPAIR_AFTER = 50
const REPAIR_JITTER = 200

const isUnknown = ({ source }: Known): boolean => source === 'fallback' || source === 'unreadable'

/**
 * Stands between a store and the gate, and is the same for all stores: a hint is a hint, a read is the
 * authority; the higher revision wins; the last known state stands while the store is away, lost or garbled.
 */
export function createSynchroniser ({ store, mirror, site, fallback, log, adopt, clockError = () => null }: SyncOptions): Synchroniser {
  const health: StoreHealth = { connected: false, lastReadAt: null, error: null }
  let known: Known = { record: { ...NEVER_WRITTEN, on: fallback }, source: 'fallback' }
  const inTurn = createQueue()
  const refresh = createSharedRun(readOnce)
  const parse = createRecordParser()
  let repairing: NodeJS.Timeout | undefined
  let closed = false

  async function readOnce (): Promise<void> {
    if (closed) return
    const before = known.record.revision
    let stored: Stored
    try {
      stored = await withTimeout(readStored(store, site, parse), READ_TIMEOUT)
    } catch (error) {
      tell(false, messageOf(error))
      return
    }
    if (closed) return
    health.lastReadAt = new Date().toISOString()
    await take(stored, before)
      .catch(error => log.error({ site, err: error }, `maintenance: site '${site}' could not adopt its state: ${messageOf(error)}`))
  }

  /** @param before the revision known when the read began: what is older was lost, what is not is only late */
  async function take (stored: Stored, before: number): Promise<void> {
    if (stored.kind === 'unreadable') {
      tell(true, stored.reason)
      if (isUnknown(known)) await accept({ record: { ...NEVER_WRITTEN, on: true }, source: 'unreadable' })
      return
    }
    if (stored.kind === 'missing' && known.source === 'unreadable') {
      // what could not be understood may have said closed: only a record opens the site
      tell(true, 'the state record is missing, and what stood there before could not be understood')
      return
    }
    const record = stored.kind === 'record' ? stored.record : NEVER_WRITTEN
    if (!isUnknown(known) && record.revision < before) {
      tell(true, stored.kind === 'missing' ? 'the state record is missing' : `the stored revision ${record.revision} is older than the known one`)
      repairSoon()
      return
    }
    tell(true, clockError())
    await accept({ record, source: 'store' })
  }

  /** What is not newer by the time that its turn comes is dropped; what could not be adopted is not known. */
  function accept (next: Known): Promise<void> {
    return inTurn(async () => {
      if (closed || !supersedes(next, known)) return
      await adopt(next)
      known = next
      if (next.source === 'store' && next.record.revision > 0) keepInMirror(next.record)
    })
  }

  /** What the mirror knows stands until the store is reached, and against a store that has lost it. */
  async function readMirror (from: MaintenanceStore): Promise<void> {
    try {
      const stored = await withTimeout(readStored(from, site), READ_TIMEOUT)
      if (stored.kind === 'unreadable') throw new Error(stored.reason)
      if (stored.kind === 'record') await accept({ record: stored.record, source: 'mirror' })
    } catch (error) {
      log.warn({ site, err: error }, `maintenance: the mirror of site '${site}' cannot be read: ${messageOf(error)}`)
    }
  }

  /**
   * Several servers share a mirror: the higher revision wins there too.
   * @param refused the revision that the mirror showed, and refused to be compared with: then it is garbage
   */
  async function keepInMirror (record: StateRecord, refused?: number): Promise<void> {
    let expected = 0
    try {
      if (mirror === undefined) return
      const stored = await readStored(mirror, site)
      if (stored.kind === 'record') expected = stored.record.revision
      if (expected >= record.revision) return
      const compares = stored.kind !== 'unreadable' && expected !== refused
      await mirror.write(site, serialiseRecord(record), { revision: record.revision, ...(compares ? { expected } : {}) })
    } catch (error) {
      // somebody else was faster, or we ourselves with the state before: whoever is newer stays
      if (isConflict(error)) return keepInMirror(record, expected)
      log.warn({ site, err: error }, `maintenance: the mirror of site '${site}' cannot be written: ${messageOf(error)}`)
    }
  }

  /** A log line each time that the store's health changes, not each time that it is looked at. */
  function tell (connected: boolean, error: string | null): void {
    const changed = error !== health.error
    health.connected = connected
    health.error = error
    if (!changed || closed) return
    if (error === null) log.info({ site }, `maintenance: store of site '${site}' is reachable again`)
    else log.error({ site, error }, `maintenance: store error for site '${site}': ${error}`)
  }

  function repairSoon (): void {
    repairing ??= setTimeout(() => {
      repair().catch(() => {}).finally(() => { repairing = undefined })
    }, REPAIR_AFTER + Math.random() * REPAIR_JITTER).unref()
  }

  /** Puts back what vanished from the store, or was replaced by something older, unless it has changed by now. */
  async function repair (): Promise<void> {
    const stored = await withTimeout(readStored(store, site), READ_TIMEOUT)
    const { record } = known
    const revision = stored.kind === 'record' ? stored.record.revision : 0
    if (closed || stored.kind === 'unreadable' || revision >= record.revision) return
    await store.write(site, serialiseRecord(record), { revision: record.revision, expected: revision })
    log.warn({ site, revision: record.revision }, `maintenance: repaired the record of site '${site}', which the store had lost`)
    await refresh()
  }

  async function set (next: Next, quiet = false): Promise<void> {
    try {
      const record = await updateRecord(store, site, next, known.record, quiet)
      tell(true, clockError())
      await accept({ record, source: 'store' })
    } catch (error) {
      // whether it was written only the store can say
      if (isOutcomeUnknown(error)) refresh()
      throw error
    }
  }

  return {
    get known () { return known },
    health,
    async start () {
      if (mirror !== undefined) await readMirror(mirror)
      await refresh()
    },
    refresh,
    set,
    close () {
      closed = true
      clearTimeout(repairing)
    }
  }
}

/** Anything is better than a guess; among records, the higher revision wins. */
function supersedes (next: Known, known: Known): boolean {
  if (isUnknown(next)) return isUnknown(known) && next.source !== known.source
  if (isUnknown(known) || next.record.revision > known.record.revision) return true
  // the same record, now from the store itself
  return known.source === 'mirror' && next.source === 'store' && next.record.revision === known.record.revision
}
