import { randomUUID } from 'node:crypto'
import type { RunningRuns } from '../../types/index.ts'
import { hashSecret } from './secret.ts'
import { ChangeError, InvalidChangeError } from '../errors.ts'
import { fail, type Change } from './change.ts'
import { PLANNED_MAX, RUNS_MAX, type ChangeNote, type StateRecord, type StoredWindow } from './record.ts'
import { runningError } from './running-error.ts'
import type { Schedule } from './schedule.ts'
import { resolveTime, type PointInTime } from './time.ts'
import { closedSince, isActive, isAhead, isOver, scheduledNow, startOf, toNow, type Moment } from './window.ts'

/** What an edit makes of the record that is stored. */
export interface Edited {
  readonly windows: readonly StoredWindow[]
  readonly openedAt?: string
  /** `null`: the renewal of a lease. It is not kept in the history, and changes neither `by` nor `at`. */
  readonly change: ChangeNote | null
  readonly by?: string | null
}

/** What an edit is made with. */
export interface EditContext {
  readonly record: StateRecord
  readonly schedule: Schedule
  readonly moment: Moment
}

/** Makes the next state; `null` leaves the record as it is. @throws FST_ERR_MAINTENANCE_CHANGE, _RUNNING */
export type Edit = (context: EditContext) => Edited | null

/** A start that lies further back than this is a slip. */
const START_TOLERANCE = 60_000

/** `set(true)`: creates or replaces the `now` window, or announces a window that starts later. */
export const closeSite = (change: Change): Edit => ({ record, moment }) => {
  const { now } = moment
  const startsAt = startOfChange(change, now)
  if (startsAt !== null && Date.parse(startsAt) > now) return announce(record, change, startsAt, now)
  const active = record.windows.find(window => window.kind === 'now' && isActive(window, moment))
  const window = withSecret(newWindow('now', change, startsAt, now, active), change, active?.bypass ?? null)
  // in its place, so that the order stays the one of creation
  const windows = record.windows.filter(other => other.kind !== 'now' || other === active)
  return {
    windows: active === undefined ? [...windows, window] : windows.map(other => other === active ? window : other),
    change: noteOf(active === undefined ? 'closed' : 'changed', window),
    by: window.by
  }
}

function announce ({ windows }: StateRecord, change: Change, startsAt: string, now: number): Edited {
  const planned = windows.filter(
    ({ kind, endsAt }) => kind === 'planned' && (endsAt === null || Date.parse(endsAt) > now)
  )
  if (planned.length >= PLANNED_MAX) {
    throw new ChangeError('startsAt', startsAt, `at most ${PLANNED_MAX} planned windows; cancel one first`)
  }
  const window = withSecret(newWindow('planned', change, startsAt, now), change, null)
  return { windows: [...windows, window], change: noteOf('planned', window), by: window.by }
}

/** `set(false)`: ends everything that closes the site now; what is still to come stays planned. */
export const openSite =
  ({ by, force = false }: Change & { readonly force?: boolean }): Edit =>
    ({ record, schedule, moment }) => {
      const runs = record.windows.filter(window => window.kind === 'run' && !isOver(window, moment))
      if (runs.length > 0 && !force) throw runningError(runs.map(toRun))
      const windows = record.windows.filter(window => isAhead(window, moment.now))
      const wasClosed =
      record.windows.some(window => isActive(window, moment)) || scheduledNow(record, schedule, moment.now).length > 0
      const ended = record.windows.filter(window => isActive(window, moment))
      return {
        windows,
        openedAt: new Date(moment.now).toISOString(),
        change: {
          kind: wasClosed ? 'opened' : 'changed',
          window: ended.length === 1 ? (ended[0] as StoredWindow).id : null
        },
        by: by ?? null
      }
    }

const toRun = ({ id, host, pid, by, at }: StoredWindow): RunningRuns['runs'][number] =>
  ({ id, host: String(host), pid: Number(pid), server: 'unknown', by, since: at })

/** `update`: changes only what is named. */
export const updateWindow = (change: Change, id?: string): Edit => context => {
  const { record, moment } = context
  const target = findTarget(context, id)
  const changed = applyChange(target, change, moment)
  // a scheduled window is not stored: a `now` window takes its place
  const stored = target.kind === 'scheduled'
    ? { ...changed, id: randomUUID(), kind: 'now', by: change.by ?? null, at: new Date(moment.now).toISOString() }
    : changed
  const window = withSecret(stored, change, stored.bypass)
  return {
    windows:
      target.kind === 'scheduled'
        ? [...record.windows, window]
        : record.windows.map(other => (other === target ? window : other)),
    change: noteOf('changed', window),
    by: change.by ?? null
  }
}

/** The window that is meant: the `now` window, else the only active or only planned one. */
export function findTarget ({ record, schedule, moment }: EditContext, id: string | undefined): StoredWindow {
  const alive = record.windows.filter(window => !isOver(window, moment))
  const scheduled = scheduledNow(record, schedule, moment.now)
  const all = [...alive, ...scheduled]
  if (id !== undefined) return all.find(window => window.id === id) ?? refuse(`window '${id}' does not exist`, all)
  const now = alive.find(window => window.kind === 'now')
  if (now !== undefined) return now
  const active = all.filter(window => isActive(window, moment))
  const candidates = (active.length > 0 ? active : alive).filter(
    ({ kind }) => kind === 'planned' || kind === 'scheduled'
  )
  if (candidates.length === 1) return candidates[0] as StoredWindow
  return refuse(candidates.length === 0 ? 'there is no window to change' : 'several windows could be meant', all)
}

function refuse (problem: string, windows: readonly StoredWindow[]): never {
  const known =
    windows.length === 0
      ? 'The site is open and nothing is planned.'
      : `Name one of ${windows.map(describeWindow).join(', ')}.`
  throw Object.assign(new InvalidChangeError(`${problem}. ${known}`), { field: 'window' })
}

const describeWindow = ({ id, kind }: StoredWindow): string => `${id} (${kind})`

function applyChange (window: StoredWindow, change: Change, moment: Moment): StoredWindow {
  const { startsAt, endsAt, secret, by, expectedRevision, ...rest } = change
  const start = startsAt === undefined ? window.startsAt : movedStart(window, startsAt, moment.now)
  const moved = { ...window, ...rest, startsAt: start }
  if (endsAt === undefined) return checkPeriod(moved, window, moment.now)
  return checkPeriod(
    { ...moved, endsAt: endsAt === null ? null : resolveTime(endsAt, endBase(moved, moment.now)) },
    window,
    moment.now
  )
}

/**
 * Where a relative end counts from: the current end, or now if that is later. A planned window counts from its end or
 * start.
 */
function endBase (window: StoredWindow, now: number): number {
  const end = window.endsAt === null ? -Infinity : Date.parse(window.endsAt)
  return Math.max(end, isAhead(window, now) ? startOf(window) : now)
}

function movedStart (window: StoredWindow, startsAt: PointInTime | null, now: number): string {
  if (!isAhead(window, now)) throw fail('startsAt', window.startsAt ?? window.at, 'a window that has not started yet')
  const start = startsAt === null ? new Date(now).toISOString() : resolveTime(startsAt, now)
  if (Date.parse(start) < now - START_TOLERANCE) throw fail('startsAt', start, 'a time in the future')
  return start
}

/** @throws FST_ERR_MAINTENANCE_CHANGE if a new end is over already, or lies before the start */
function checkPeriod (window: StoredWindow, before: StoredWindow | null, now: number): StoredWindow {
  const { startsAt, endsAt } = window
  if (endsAt === null || (endsAt === before?.endsAt && startsAt === before.startsAt)) return window
  if (Date.parse(endsAt) <= now) {
    throw fail('endsAt', endsAt, `a time in the future (now is ${new Date(now).toISOString()})`)
  }
  if (Date.parse(endsAt) <= startOf(window)) {
    throw fail('endsAt', endsAt, `a time after startsAt (${new Date(startOf(window)).toISOString()})`)
  }
  return window
}

/** `cancel`: removes a planned window; without an id, the only one. */
export const cancelWindow = (id: string | undefined, by: string | null): Edit => ({ record, moment }) => {
  const planned = record.windows.filter(window => window.kind === 'planned' && !isOver(window, moment))
  const matching = id === undefined ? planned : planned.filter(window => window.id === id)
  const [window] = matching
  if (window === undefined || matching.length > 1) {
    refuse(
      id === undefined ? `there are ${planned.length} planned windows` : `'${id}' is not a planned window`,
      planned
    )
  }
  return { windows: record.windows.filter(other => other !== window), change: noteOf('cancelled', window), by }
}

/** The process that does the work of a run. */
export interface RunOwner {
  readonly id: string
  readonly host: string
  readonly pid: number
  /** ms; `null`: the run stays until it leaves. */
  readonly lease: number | null
  readonly stayClosed: boolean
}

/** A run begins: its window closes the site until the work is done. */
export const enterRun = (change: Change, { id, lease, ...owner }: RunOwner): Edit => ({ record, moment }) => {
  const runs = record.windows.filter(window => window.kind === 'run' && !isOver(window, moment))
  if (runs.length >= RUNS_MAX) throw new ChangeError('the run', id, `at most ${RUNS_MAX} runs at a time`)
  const made = { ...newWindow('run', change, null, moment.now), id, ...owner, lease: leaseEnd(lease, moment.now) }
  const window = withSecret(made, change, null)
  return { windows: [...record.windows, window], change: noteOf('run', window), by: window.by }
}

/** Moves the lease on. @returns `null` if the run is over or was removed: it is not added again */
export const renewRun =
  ({ id, lease }: Pick<RunOwner, 'id' | 'lease'>): Edit =>
    ({ record, moment }) =>
      record.windows.some(window => window.id === id && window.kind === 'run' && !isOver(window, moment))
        ? {
            windows: record.windows.map(window =>
              window.id === id ? { ...window, lease: leaseEnd(lease, moment.now) } : window
            ),
            change: null
          }
        : null

/** A run ends. @param failed with `stayClosed`, the site stays closed then, as it does if the lease was lost before */
export const leaveRun = (id: string, failed: boolean): Edit => ({ record }) => {
  const window = record.windows.find(other => other.id === id)
  if (window === undefined || (failed && window.kind !== 'run')) return null
  const stays = failed && window.stayClosed === true
  const windows = record.windows.flatMap(other => other !== window ? other : stays ? toNow(window) : [])
  return { windows, change: { ...noteOf('run', window), ended: true }, by: window.by }
}

const leaseEnd = (lease: number | null, now: number): string | null =>
  lease === null ? null : new Date(now + lease).toISOString()

function startOfChange ({ startsAt }: Change, now: number): string | null {
  if (startsAt === undefined || startsAt === null) return null
  const start = resolveTime(startsAt, now)
  if (Date.parse(start) < now - START_TOLERANCE) {
    throw fail(
      'startsAt',
      start,
      `a time in the future, or leave it out to start now (now is ${new Date(now).toISOString()})`
    )
  }
  return start
}

/** Whatever the change leaves out has its default; an active `now` window that is replaced keeps its identity. */
function newWindow (
  kind: string,
  change: Change,
  startsAt: string | null,
  now: number,
  same?: StoredWindow
): StoredWindow {
  const at = same?.at ?? new Date(now).toISOString()
  const begin = Date.parse(startsAt ?? at)
  const {
    mode = 'full',
    message = null,
    retryAfter = null,
    ignoreRoutes = [],
    ignoreIps = [],
    onlyRoutes = [],
    by = null
  } = change
  // a relative end counts from the start, or from now if the window has begun
  const endsAt =
    change.endsAt === undefined || change.endsAt === null ? null : resolveTime(change.endsAt, Math.max(begin, now))
  const window = {
    id: same?.id ?? randomUUID(),
    kind,
    startsAt: startsAt ?? same?.startsAt ?? null,
    endsAt,
    mode,
    message,
    retryAfter,
    ignoreRoutes,
    ignoreIps,
    onlyRoutes,
    bypass: null,
    lease: null,
    by,
    at
  }
  return checkPeriod(window, null, now)
}

function withSecret (window: StoredWindow, { secret }: Change, before: string | null): StoredWindow {
  return { ...window, bypass: secret === undefined ? before : secret === null ? null : hashSecret(window.id, secret) }
}

const noteOf = (kind: ChangeNote['kind'], { id, mode, message, startsAt, endsAt }: StoredWindow): ChangeNote =>
  ({ kind, window: id, mode, message, startsAt, endsAt })

/** The record that an edit makes: windows that are over go, and what else the next reader needs is computed. */
export function makeRecord ({ record, schedule, moment }: EditContext, edited: Edited, revision: number): StateRecord {
  const { now } = moment
  // later than the change before, even within one millisecond: that tells two changes from one and the renewal of a
  // lease
  const at = new Date(Math.max(now, Date.parse(record.at ?? '') + 1 || now)).toISOString()
  const next: StateRecord = {
    ...record,
    v: 2,
    revision,
    openedAt: edited.openedAt ?? record.openedAt,
    windows: edited.windows.filter(window => !isOver(window, moment)),
    ...(edited.change === null ? {} : { by: edited.by ?? null, at, change: { ...edited.change, revision } })
  }
  const since = closedSince(next, schedule, moment)
  const before = closedSince(record, schedule, moment)
  return { ...next, closedSince: since === null ? null : new Date(before ?? now).toISOString() }
}
