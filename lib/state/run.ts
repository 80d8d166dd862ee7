import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunContext } from '../../types/index.ts'
import type { Log } from '../util/log.ts'
import { ChangeError, isOutcomeUnknown, messageOf, RunningError, show } from '../errors.ts'
import { bool } from '../util/validate.ts'
import { checkSet, fail, type Change } from './change.ts'
import { enterRun, leaveRun, renewRun, type Edit, type RunOwner } from './edit.ts'
import type { StateRecord } from './record.ts'
import { duration, toDuration } from '../util/duration.ts'

/** A site as far as a run needs it. */
export interface RunSite {
  readonly name: string
  /** The runs whose work is done by this process: none of their leases ends here. */
  readonly ownRuns: Set<string>
  write (edit: Edit, options?: { readonly expectedRevision?: number | undefined }): Promise<unknown>
  /** Calls `listener` with every record that is adopted. @returns a function that removes it */
  onRecord (listener: (record: StateRecord) => void): () => void
}

export interface RunParts<T> {
  readonly site: RunSite
  readonly work: (context: RunContext) => T | Promise<T>
  readonly track: RunContext['track']
  readonly bypass: RunContext['bypass']
  /** Waits until the work may begin. */
  readonly ready: (signal: AbortSignal) => Promise<void>
  /** Aborts when the server closes. */
  readonly closing: AbortSignal
  readonly log: Log
}

/** How often a lease is renewed before it ends. */
const RENEWALS = 3
/** The signal aborts this part of a lease before its end, so that the work can stop in time. */
const ABORT_MARGIN = 0.1
/** Between two attempts to leave while the store is away, ms. */
const RETRY_EVERY = 1000

const lease = duration(1000, 86_400_000)

export interface RunChange {
  readonly change: Change
  /** ms; `null`: the run stays until it leaves. */
  readonly lease: number | null
  readonly stayClosed: boolean
}

/** @throws FST_ERR_MAINTENANCE_CHANGE */
export function checkRun (work: unknown, options: Record<string, unknown>): RunChange {
  if (typeof work !== 'function') throw new ChangeError('the work', show(work), 'a function')
  const { lease: length, stayClosed = false, ...change } = options
  if (length !== undefined && !lease.test(length)) throw fail('lease', length, lease.expected)
  if (!bool.test(stayClosed)) throw fail('stayClosed', stayClosed, bool.expected)
  if (change.startsAt !== undefined) throw fail('startsAt', change.startsAt, 'nothing: a run starts at once')
  return {
    change: checkSet(change),
    lease: length === undefined ? null : toDuration(length),
    stayClosed: stayClosed as boolean
  }
}

/**
 * Closes the site by a window of its own, does the work, and removes the window: what was there before is there again.
 * @throws what the work throws; FST_ERR_MAINTENANCE_RUNNING if the run was ended by force before its work began
 */
export async function run<T> (parts: RunParts<T>, { change, ...rest }: RunChange): Promise<T> {
  const { site, closing, log } = parts
  const owner: RunOwner = { id: randomUUID(), host: hostname(), pid: process.pid, ...rest }
  const ending = new AbortController()
  const leave = (failed: boolean): Promise<void> => leaveSite(site, owner, failed, closing, log)
  const abort = (reason: string): void =>
    ending.abort(new RunningError(`the run of site '${site.name}' was ended: ${reason}`))

  const sentAt = performance.now()
  await enter(site, change, owner, leave)
  const stopWatching = site.onRecord(({ windows }) => {
    if (!windows.some(({ id }) => id === owner.id)) abort('its window was removed')
  })
  const onClose = (): void => abort('the server closes')
  closing.addEventListener('abort', onClose)
  if (closing.aborted) onClose()
  const stopRenewing = renewLease(site, owner, sentAt, abort, log)
  // a wait that fails leaves the site as it was: only failed work keeps it closed
  let failed = false
  try {
    await parts.ready(ending.signal)
    ending.signal.throwIfAborted()
    failed = true
    const result = await parts.work({ signal: ending.signal, track: parts.track, bypass: parts.bypass })
    failed = false
    if (ending.signal.aborted) {
      log.warn(
        `maintenance: the work of a run on site '${site.name}' finished although ${messageOf(ending.signal.reason)}`
      )
    }
    return result
  } finally {
    stopRenewing()
    stopWatching()
    closing.removeEventListener('abort', onClose)
    site.ownRuns.delete(owner.id)
    await leave(failed)
  }
}

async function enter (
  site: RunSite,
  change: Change,
  owner: RunOwner,
  leave: (failed: boolean) => Promise<void>
): Promise<void> {
  site.ownRuns.add(owner.id)
  try {
    await site.write(enterRun(change, owner), { expectedRevision: change.expectedRevision })
  } catch (error) {
    site.ownRuns.delete(owner.id)
    // the window may stand in the store all the same
    if (isOutcomeUnknown(error)) leave(false)
    throw error
  }
}

/** Removes the window. While the store is away it is tried again, until the server closes. */
async function leaveSite (
  site: RunSite,
  { id }: RunOwner,
  failed: boolean,
  closing: AbortSignal,
  log: Log
): Promise<void> {
  try {
    await site.write(leaveRun(id, failed))
  } catch (error) {
    log.error(
      { err: error },
      `maintenance: site '${site.name}' stays closed after a run, until the store can be written: ${messageOf(error)}`
    )
    keepLeaving(site, id, failed, closing)
  }
}

async function keepLeaving (site: RunSite, id: string, failed: boolean, closing: AbortSignal): Promise<void> {
  while (!closing.aborted) {
    await sleep(RETRY_EVERY, undefined, { ref: false })
    const left = await site.write(leaveRun(id, failed)).then(() => true, () => false)
    if (left) return
  }
}

/** Renews the lease while the work is done; the work is aborted before a lease ends that could not be renewed. */
function renewLease (
  site: RunSite, owner: RunOwner, enteredAt: number, abort: (reason: string) => void, log: Log
): () => void {
  const { lease: length } = owner
  if (length === null) return () => {}
  let expiry: NodeJS.Timeout
  const expectExpiry = (sentAt: number): void => {
    clearTimeout(expiry)
    const left = sentAt + length * (1 - ABORT_MARGIN) - performance.now()
    expiry = setTimeout(() => abort('its lease could not be renewed'), Math.max(left, 0)).unref()
  }
  const renew = async (): Promise<void> => {
    const sentAt = performance.now()
    try {
      await site.write(renewRun(owner))
      expectExpiry(sentAt)
    } catch (error) {
      log.warn({ err: error }, `maintenance: a lease on site '${site.name}' could not be renewed: ${messageOf(error)}`)
    }
  }
  expectExpiry(enteredAt)
  const timer = setInterval(renew, length / RENEWALS).unref()
  return () => {
    clearInterval(timer)
    clearTimeout(expiry)
  }
}
