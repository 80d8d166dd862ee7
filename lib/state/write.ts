import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore } from '../../types/index.ts'
import {
  ConflictError,
  InvalidChangeError,
  isConflict,
  isOutcomeUnknown,
  isStoreError,
  messageOf,
  OutcomeUnknownError,
  StoreError
} from '../errors.ts'
import { withTimeout } from '../util/timeout.ts'
import { makeRecord, type Edit } from './edit.ts'
import { readStored, storedRevision, type Stored } from './read.ts'
import { NEVER_WRITTEN, RECORD_MAX, serialiseRecord, type StateRecord } from './record.ts'
import { NO_SCHEDULE, type Schedule } from './schedule.ts'
import { timeOf } from './time.ts'
import { assumedWindow, momentOf, settle } from './window.ts'

/** Within the 2 s that `set` may take, ms. */
const WRITE_TIMEOUT = 1900
/** How long a write that has succeeded waits for its entry in the history, ms. */
const APPEND_TIMEOUT = 500

export interface WriteRequest {
  readonly edit: Edit
  readonly expectedRevision?: number | undefined
  /** The record that this server knows: a store that was emptied does not bring revisions back. */
  readonly local?: StateRecord | undefined
  readonly schedule?: Schedule
  /** The runs whose work is done by this process. */
  readonly ownRuns?: ReadonlySet<string>
  /** ms */
  readonly timeout?: number
}

/** How the caller, who waits, and the work that it waits for know of each other. */
interface Attempt { writing: boolean, over: boolean }

/**
 * Writes what an edit makes of the stored record: read, compare, write, and again after a conflict.
 * @throws FST_ERR_MAINTENANCE_CONFLICT if `expectedRevision` no longer holds, _STORE, _OUTCOME_UNKNOWN, and what the
 * edit throws
 */
export async function updateRecord (
  store: MaintenanceStore,
  site: string,
  request: WriteRequest
): Promise<StateRecord> {
  const { timeout = WRITE_TIMEOUT } = request
  const attempt = { writing: false, over: false }
  return withTimeout(tryUntilWritten(store, site, request, attempt), timeout, () => {
    attempt.over = true
    return attempt.writing
      ? new OutcomeUnknownError(Math.ceil(timeout))
      : new StoreError(`no answer within ${Math.ceil(timeout)} ms`)
  })
}

async function tryUntilWritten (
  store: MaintenanceStore,
  site: string,
  request: WriteRequest,
  attempt: Attempt
): Promise<StateRecord> {
  let refused: number | undefined
  for (;;) {
    const stored = await failing(readStored(store, site))
    const now = timeOf(store)
    const made = makeNext(stored, request, now)
    if (made === null) return baseOf(stored, request, now)
    const { record, isChange } = made
    const expected = storedRevision(stored, now)
    // A store that refuses the revision that it has just shown holds garbage. It is written over, so that nobody is
    // locked out.
    const condition = stored.kind === 'unreadable' || expected === refused ? {} : { expectedRevision: expected }
    // the caller was told that nothing was changed
    if (attempt.over) throw new StoreError('out of time')
    attempt.writing = true
    if (await write(store, site, record, { ...condition, skipHistory: !isChange })) {
      // the write stands, whatever becomes of its entry in the history
      if (isChange) await appendHistory(store, site, record)
      return record
    }
    attempt.writing = false
    refused = expected
    await sleep(Math.random() * 10)
  }
}

/**
 * The newer one of the stored record and the one that this server knows. What cannot be read may have closed the site.
 */
function baseOf (stored: Stored, { local }: WriteRequest, now: number): StateRecord {
  if (stored.kind === 'record' && stored.record.revision >= (local?.revision ?? 0)) return stored.record
  return local ?? (stored.kind === 'unreadable' ? closedRecord(now) : NEVER_WRITTEN)
}

/** Stands for a record that cannot be read. */
export const closedRecord = (now: number): StateRecord =>
  ({ ...NEVER_WRITTEN, windows: [{ ...assumedWindow('unreadable', now), id: randomUUID() }] })

/** @returns `null` if the edit leaves the record as it is */
function makeNext (
  stored: Stored,
  request: WriteRequest,
  now: number
): { record: StateRecord; isChange: boolean } | null {
  const { edit, expectedRevision, local, schedule = NO_SCHEDULE, ownRuns } = request
  const moment = { ...momentOf(now), ...(ownRuns === undefined ? {} : { ownRuns }) }
  const record = settle(baseOf(stored, request, now), moment)
  const current = Math.max(storedRevision(stored, now), local?.revision ?? 0)
  if (expectedRevision !== undefined && expectedRevision !== current) throw new ConflictError(current, expectedRevision)
  const context = { record, schedule, moment }
  const edited = edit(context)
  return edited === null
    ? null
    : { record: makeRecord(context, edited, Math.max(current + 1, now)), isChange: edited.change !== null }
}

/** @returns false if somebody else was faster */
async function write (
  store: MaintenanceStore,
  site: string,
  record: StateRecord,
  options: { expectedRevision?: number; skipHistory: boolean }
): Promise<boolean> {
  const text = serialiseRecord(record)
  if (text.length > RECORD_MAX) {
    throw new InvalidChangeError(
      `the change is too large: its record would have ${text.length} characters, at most ${RECORD_MAX}`
    )
  }
  try {
    await failing(store.write(site, text, { revision: record.revision, ...options }))
    return true
  } catch (error) {
    if (isConflict(error)) return false
    throw error
  }
}

async function appendHistory (store: MaintenanceStore, site: string, record: StateRecord): Promise<void> {
  // what was changed is all that the history tells
  const entry = serialiseRecord({ ...record, windows: [] })
  const appending = Promise.resolve(store.appendHistory?.(site, entry))
  await withTimeout(appending, APPEND_TIMEOUT).catch(() => {})
}

/** The message is the store's own, the error itself is the cause. */
async function failing<T> (work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw isConflict(error) || isOutcomeUnknown(error) || isStoreError(error)
      ? error
      : new StoreError(messageOf(error), { cause: error })
  }
}
