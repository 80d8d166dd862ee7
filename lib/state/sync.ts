import type { MaintenanceStore, Source } from '../../types/index.ts'
import type { Log } from '../util/log.ts'
import { isDeepStrictEqual } from 'node:util'
import { isConflict, isOutcomeUnknown, messageOf } from '../errors.ts'
import { createQueue, createSharedRun } from '../util/queue.ts'
import { isFarAhead } from '../util/revision.ts'
import { withTimeout } from '../util/timeout.ts'
import { readStored, type Stored } from './read.ts'
import { createRecordParser, NEVER_WRITTEN, serialiseRecord, type StateRecord } from './record.ts'
import { timeOf } from './time.ts'
import { closedRecord, updateRecord, type WriteRequest } from './write.ts'

/** The state of a site as this server knows it. */
export interface LocalState {
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
  readonly local: LocalState
  readonly health: Readonly<StoreHealth>
  /** Reads the mirror, then the store. */
  start (): Promise<void>
  /** Reads the store now, or once more after the read that is under way. Never rejects. */
  refresh (): Promise<void>
  /** Writes the store, then this server. @returns the record that was written */
  write (request: WriteRequest): Promise<StateRecord>
  close (): void
}

export interface SyncOptions {
  readonly store: MaintenanceStore
  /** Keeps the last known state, for boots while the store is away. */
  readonly mirror?: MaintenanceStore | undefined
  /** What is wrong with the store's clock; `null`: nothing. */
  readonly clockError?: () => string | null
  readonly site: string
  readonly log: Log
  /** Called with each newer state, one after the other. If it rejects, the next read brings the same state again. */
  readonly adopt: (next: LocalState) => Promise<void>
  /** Called after each successful read. @param readAt when the read began, by the clock of the store, ms */
  readonly onRead: (readAt: number) => void
}

/** A read that takes longer counts as failed, ms; booting waits for one. */
const READ_TIMEOUT = 3000
/** Repair delay and jitter, ms: all servers see at the same time that a record has vanished. */
const REPAIR_AFTER = 50
const REPAIR_JITTER = 200

const isUnknown = ({ source }: LocalState): boolean => source === 'unknown' || source === 'unreadable'

/**
 * Keeps the local state in step with a store, whatever the store is. A notification is only a hint, a read is the
 * authority, and the higher revision wins. While the store is away, emptied or corrupt, the last known state stays in
 * force.
 */
export function createSynchroniser ({
  store, mirror, site, log, adopt, onRead, clockError = () => null
}: SyncOptions): Synchroniser {
  const health: StoreHealth = { connected: false, lastReadAt: null, error: null }
  let local: LocalState = { record: NEVER_WRITTEN, source: 'unknown' }
  const inTurn = createQueue()
  const refresh = createSharedRun(readOnce)
  const parse = createRecordParser()
  let repairing: NodeJS.Timeout | undefined
  let closed = false
  const now = (): number => timeOf(store)

  async function readOnce (): Promise<void> {
    if (closed) return
    const before = local.record.revision
    const readAt = now()
    let stored: Stored
    try {
      stored = await withTimeout(readStored(store, site, parse), READ_TIMEOUT)
    } catch (error) {
      report(false, messageOf(error))
      return
    }
    if (closed) return
    health.lastReadAt = new Date().toISOString()
    await take(stored, before)
      .then(confirmed => {
        if (confirmed) onRead(readAt)
      })
      .catch(error =>
        log.error({ site, err: error }, `maintenance: site '${site}' could not adopt its state: ${messageOf(error)}`)
      )
  }

  /**
   * @param before the local revision when the read began: if the stored one is lower, the store has lost data
   * @returns true if the store holds the state that this server has now
   */
  async function take (stored: Stored, before: number): Promise<boolean> {
    if (stored.kind === 'unreadable') {
      report(true, stored.reason)
      if (isUnknown(local)) await accept({ record: NEVER_WRITTEN, source: 'unreadable' })
      return false
    }
    if (stored.kind === 'missing' && local.source === 'unreadable') {
      // the unreadable record may have closed the site, so only a record opens it
      report(true, 'the state record is missing, and the one before it was unreadable')
      return false
    }
    const record = stored.kind === 'record' ? stored.record : NEVER_WRITTEN
    if (!isUnknown(local) && record.revision < before && (stored.kind === 'missing' || !isFarAhead(before, now()))) {
      report(
        true,
        stored.kind === 'missing'
          ? 'the state record is missing'
          : `the stored revision ${record.revision} is older than the known one`
      )
      repairSoon()
      return false
    }
    report(true, clockError() ?? contradiction(record))
    await accept({ record, source: 'store' })
    return true
  }

  /** Two writers that could not see each other have used the same revision. */
  function contradiction (record: StateRecord): string | null {
    if (isUnknown(local) || record.revision !== local.record.revision || isDeepStrictEqual(record, local.record)) {
      return null
    }
    return `the stored record differs from the one that this server knows, although both have revision ${record.revision}`
  }

  /** Adopts a state, unless a newer one has come first. */
  function accept (next: LocalState): Promise<void> {
    return inTurn(async () => {
      if (closed || !supersedes(next, local, now())) return
      await adopt(next)
      local = next
      if (next.source === 'store' && next.record.revision > 0) keepInMirror(next.record)
    })
  }

  /** The mirror stands in until the store is reached, and for a store that has lost its data. */
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
   * Several servers may share a mirror: the higher revision wins there too.
   * @param refused the revision that the mirror returned and then refused to compare with: the mirror holds garbage
   */
  async function keepInMirror (record: StateRecord, refused?: number): Promise<void> {
    let expected = 0
    try {
      if (mirror === undefined) return
      const stored = await readStored(mirror, site)
      if (stored.kind === 'record') expected = stored.record.revision
      if (expected >= record.revision) return
      const compares = stored.kind !== 'unreadable' && expected !== refused
      await mirror.write(site, serialiseRecord(record), {
        revision: record.revision,
        ...(compares ? { expectedRevision: expected } : {})
      })
    } catch (error) {
      // another write came first: keep the newer of the two
      if (isConflict(error)) return keepInMirror(record, expected)
      log.warn({ site, err: error }, `maintenance: the mirror of site '${site}' cannot be written: ${messageOf(error)}`)
    }
  }

  /** Logs only changes of the store's health. */
  function report (connected: boolean, error: string | null): void {
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

  /** Writes the local record again if the store has lost it or holds an older one. */
  async function repair (): Promise<void> {
    const stored = await withTimeout(readStored(store, site), READ_TIMEOUT)
    const { record } = local
    const revision = stored.kind === 'record' ? stored.record.revision : 0
    if (closed || stored.kind === 'unreadable' || revision >= record.revision) return
    await store.write(site, serialiseRecord(record), {
      revision: record.revision,
      expectedRevision: revision,
      skipHistory: true
    })
    log.warn(
      { site, revision: record.revision },
      `maintenance: repaired the record of site '${site}', which the store had lost`
    )
    await refresh()
  }

  /** What a write goes on from if the store holds nothing newer. */
  function known (): StateRecord | undefined {
    if (local.source === 'unreadable') return closedRecord(now())
    return local.source === 'unknown' ? undefined : local.record
  }

  async function write (request: WriteRequest): Promise<StateRecord> {
    try {
      const record = await updateRecord(store, site, { local: known(), ...request })
      report(true, clockError())
      await accept({ record, source: 'store' })
      return record
    } catch (error) {
      // only the store knows whether it was written
      if (isOutcomeUnknown(error)) refresh()
      throw error
    }
  }

  return {
    get local () { return local },
    health,
    async start () {
      if (mirror !== undefined) await readMirror(mirror)
      await refresh()
    },
    refresh,
    write,
    close () {
      closed = true
      clearTimeout(repairing)
    }
  }
}

/**
 * A known state always replaces an unknown one. Otherwise the higher revision wins, unless it is far ahead of the
 * clock: the clock was wrong then, and no other writer could ever exceed that revision.
 */
function supersedes (next: LocalState, local: LocalState, now: number): boolean {
  if (isUnknown(next)) return isUnknown(local) && next.source !== local.source
  if (isUnknown(local) || next.record.revision > local.record.revision) return true
  if (isFarAhead(local.record.revision, now)) return next.source === 'store'
  // the same record, now from the store itself
  return local.source === 'mirror' && next.source === 'store' && next.record.revision === local.record.revision
}
