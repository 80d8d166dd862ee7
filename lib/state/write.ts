import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore } from '../../types/index.ts'
import {
  ConflictError, InvalidChangeError, isConflict, isOutcomeUnknown, isUnreadable, messageOf, show, StoreError, StoreUnknownError, UnreadableError
} from '../errors.ts'
import { withTimeout } from '../util/timeout.ts'
import { makeRecord, type CheckedChange } from './change.ts'
import { isRevision } from '../util/revision.ts'
import { NEVER_WRITTEN, parseRecord, RECORD_MAX, serialiseRecord, type StateRecord } from './record.ts'
import { timeOf } from './time.ts'
import { isOver } from './window.ts'

/** Within the 2 s that `set` may take, ms. */
const WRITE_TIMEOUT = 1900
/** A write that has succeeded does not wait longer for its entry in the history, ms. */
const APPEND_TIMEOUT = 500

/** What a look into the store found. */
export type Stored =
  | { readonly kind: 'record', readonly record: StateRecord }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unreadable', readonly reason: string, readonly text: string | null }

/** A change, or what makes one of the record that stands; `null`: leave it as it is. */
export type Next = CheckedChange | ((record: StateRecord, now: number) => CheckedChange | null)

/**
 * @param parse of a caller that reads the same text again and again
 * @throws whatever the store throws when it cannot be reached
 */
export async function readStored (store: MaintenanceStore, site: string, parse = parseRecord): Promise<Stored> {
  let text: string | null = null
  try {
    const stored: unknown = await store.read(site)
    // what was never written is `undefined` to a store made of a Map
    if (stored === null || stored === undefined) return { kind: 'missing' }
    if (typeof stored !== 'string') throw new UnreadableError(`the store returned ${show(stored)}, expected text`)
    text = stored
    return { kind: 'record', record: parse(text, timeOf(store)) }
  } catch (error) {
    if (!isUnreadable(error)) throw error
    return { kind: 'unreadable', reason: messageOf(error), text }
  }
}

/** The revision of a record that is otherwise not understood; 0 if it cannot be told. */
function revisionOf (text: string | null, now: number): number {
  try {
    if (text === null || text.length > RECORD_MAX) return 0
    const { revision } = JSON.parse(text)
    return isRevision(revision, now) ? revision : 0
  } catch {
    return 0
  }
}

const storedRevision = (stored: Stored, now: number): number => {
  if (stored.kind === 'record') return stored.record.revision
  return stored.kind === 'unreadable' ? revisionOf(stored.text, now) : 0
}

/**
 * Writes what a change makes of the stored record: read, compare, write, and again on a conflict.
 * @param quiet no transition: kept out of the history
 * @param own the record that this server knows; a store that was emptied does not bring revisions back
 * @param timeout ms
 * @throws FST_ERR_MAINTENANCE_CONFLICT where `expectedRevision` no longer holds, _STORE, _STORE_UNKNOWN
 */
export async function updateRecord (
  store: MaintenanceStore, site: string, next: Next, own: StateRecord = NEVER_WRITTEN, quiet = false, timeout = WRITE_TIMEOUT
): Promise<StateRecord> {
  const attempt = { writing: false, over: false }
  return withTimeout(tryUntilWritten(store, site, next, own, quiet, attempt), timeout, () => {
    attempt.over = true
    return attempt.writing ? new StoreUnknownError(timeout) : new StoreError(`no answer within ${timeout} ms`)
  })
}

/** How a caller that waits and the work that it waits for know of each other. */
interface Attempt { writing: boolean, over: boolean }

async function tryUntilWritten (
  store: MaintenanceStore, site: string, next: Next, own: StateRecord, quiet: boolean, attempt: Attempt
): Promise<StateRecord> {
  let refused: number | undefined
  for (;;) {
    const stored = await failing(readStored(store, site))
    const now = timeOf(store)
    const expected = storedRevision(stored, now)
    const { record, isNew } = makeNext(stored, expected, next, own, now)
    if (!isNew) return record
    // a store that refuses what it shows again at once knows another revision than the record tells: garbage, or
    // edited by hand. Then it is written over, so that nobody is locked out.
    const condition = expected === refused ? {} : { expected }
    // too late: whoever waited was told that nothing was changed
    if (attempt.over) throw new StoreError('out of time')
    attempt.writing = true
    const written = await write(store, site, record, { ...condition, quiet })
    if (written) {
      // the write stands, whatever becomes of its entry in the history
      if (!quiet) await withTimeout(Promise.resolve(store.append?.(site, serialiseRecord(record))), APPEND_TIMEOUT).catch(() => {})
      return record
    }
    attempt.writing = false
    refused = expected
    await sleep(Math.random() * 10)
  }
}

/** @throws FST_ERR_MAINTENANCE_CONFLICT where `expectedRevision` no longer holds */
function makeNext (stored: Stored, storedAs: number, next: Next, own: StateRecord, now: number): { record: StateRecord, isNew: boolean } {
  const base = stored.kind === 'record' && stored.record.revision >= own.revision ? stored.record : own
  const current = Math.max(storedAs, own.revision)
  const change = typeof next === 'function' ? next(base, now) : next
  if (change === null) return { record: base, isNew: false }
  if (change.expectedRevision !== undefined && change.expectedRevision !== current) {
    throw new ConflictError(current, change.expectedRevision)
  }
  const windowId = windowOf(change, base, now)
  const bypass = windowId === base.windowId ? base.bypass : null
  return { record: makeRecord(change, Math.max(current + 1, now), windowId, now, bypass), isNew: true }
}

/** @returns false where somebody else was faster */
async function write (store: MaintenanceStore, site: string, record: StateRecord, condition: { expected?: number, quiet: boolean }): Promise<boolean> {
  const text = serialiseRecord(record)
  if (text.length > RECORD_MAX) throw new InvalidChangeError(`the change is too large: its record would have ${text.length} characters, at most ${RECORD_MAX}`)
  try {
    await failing(store.write(site, text, { revision: record.revision, ...condition }))
    return true
  } catch (error) {
    if (isConflict(error)) return false
    throw error
  }
}

/** A change while closed stays in its window; after the end, or from open to closed, a new one begins. */
function windowOf (change: CheckedChange, base: StateRecord, now: number): string | null {
  if (!change.on) return null
  return base.on && !isOver(base, now) ? (base.windowId ?? randomUUID()) : randomUUID()
}

/** The store's own words stand in the message, the error itself is its cause. */
async function failing<T> (work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw isConflict(error) || isOutcomeUnknown(error) ? error : new StoreError(messageOf(error), { cause: error })
  }
}
