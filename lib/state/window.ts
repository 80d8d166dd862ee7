import type { Mode, Source, UpcomingWindow } from '../../types/index.ts'
import { MODES, modeOf, WINDOW_DEFAULTS, type StateRecord, type StoredWindow } from './record.ts'
import type { Schedule } from './schedule.ts'

/** What a site's windows depend on beside the record. Instants are ms since 1970, by the clock of the store. */
export interface Moment {
  readonly now: number
  /** When the last successful read of the store began. */
  readonly readAt: number
  /** The runs whose work is done by this process. */
  readonly ownRuns: ReadonlySet<string>
}

/** For code that has just read the store and does no work. */
export const momentOf = (now: number): Moment => ({ now, readAt: now, ownRuns: NO_RUNS })
const NO_RUNS: ReadonlySet<string> = new Set()

export const startOf = ({ startsAt, at }: StoredWindow): number => Date.parse(startsAt ?? at)
const endOf = ({ endsAt }: StoredWindow): number => endsAt === null ? Infinity : Date.parse(endsAt)

/** A window without a start has begun when it was created, whatever the clock of another server says. */
const hasBegun = ({ startsAt }: StoredWindow, now: number): boolean => startsAt === null || Date.parse(startsAt) <= now

/** Does it close the site now? The end of a run is only what visitors are told. */
export function isActive (window: StoredWindow, moment: Moment): boolean {
  return hasBegun(window, moment.now) && !isOver(window, moment)
}

/**
 * Has it ended? A lease has ended only if the store was read after its end, and never in the process that does the
 * work: while the store is away, nobody can know.
 */
export function isOver (window: StoredWindow, { now, readAt, ownRuns }: Moment): boolean {
  if (window.kind !== 'run') return endOf(window) <= now
  return window.stayClosed !== true && hasLostLease(window, { readAt, ownRuns })
}

/** Has the process of this run been gone for the whole lease? */
const hasLostLease = ({ id, lease }: StoredWindow, { readAt, ownRuns }: Pick<Moment, 'readAt' | 'ownRuns'>): boolean =>
  lease !== null && Date.parse(lease) <= readAt && !ownRuns.has(id)

/** A run that has lost its lease and must stay closed has become a `now` window. */
export function settle (record: StateRecord, moment: Moment): StateRecord {
  const isLeft = (window: StoredWindow): boolean =>
    window.kind === 'run' && window.stayClosed === true && hasLostLease(window, moment)
  return record.windows.some(isLeft)
    ? { ...record, windows: record.windows.map(window => (isLeft(window) ? toNow(window) : window)) }
    : record
}

/** What a run leaves behind if the site must stay closed after it. */
export function toNow ({ host, pid, stayClosed, ...window }: StoredWindow): StoredWindow {
  return { ...window, kind: 'now', lease: null, endsAt: null }
}

export const isAhead = (window: StoredWindow, now: number): boolean => !hasBegun(window, now) && endOf(window) > now

/** The strictest first; of equally strict ones the newest, by its start and then by its creation. */
export function byStrictness (windows: readonly StoredWindow[]): StoredWindow[] {
  const rank = (window: StoredWindow): number => MODES.indexOf(modeOf(window))
  return windows
    .map((window, i) => ({ window, i }))
    .sort((a, b) => rank(a.window) - rank(b.window) || startOf(b.window) - startOf(a.window) || b.i - a.i)
    .map(({ window }) => window)
}

/** The windows that close the site now, stored and scheduled, the deciding one first. */
export function activeWindows (record: StateRecord, schedule: Schedule, moment: Moment): StoredWindow[] {
  const stored = record.windows.filter(window => isActive(window, moment))
  return byStrictness([...scheduledNow(record, schedule, moment.now), ...stored])
}

/** The windows of the schedule that close the site now, unless `set(false)` has ended them. */
export function scheduledNow ({ openedAt }: StateRecord, schedule: Schedule, now: number): StoredWindow[] {
  const opened = openedAt === null ? -Infinity : Date.parse(openedAt)
  return schedule.current(now).filter(window => startOf(window) > opened)
}

/** The windows that are still to come, the next one first. */
export function windowsAhead (record: StateRecord, schedule: Schedule, now: number): StoredWindow[] {
  const stored = record.windows.filter(window => isAhead(window, now))
  return [...stored, ...schedule.next(now)].sort((a, b) => startOf(a) - startOf(b))
}

export function toUpcoming (window: StoredWindow): UpcomingWindow {
  const { endsAt, message } = window
  return { startsAt: new Date(startOf(window)).toISOString(), endsAt, mode: modeOf(window), message }
}

/** The next start or end after `now`; `null`: there is none. */
export function nextTransition (record: StateRecord, schedule: Schedule, now: number): number | null {
  const windows = [...record.windows, ...schedule.current(now), ...schedule.next(now)]
  const instants = windows.flatMap(window =>
    [startOf(window), window.kind === 'run' ? Date.parse(window.lease ?? '') : endOf(window)])
  const next = Math.min(...instants.filter(instant => instant > now))
  return Number.isFinite(next) ? next : null
}

/** How many windows may touch each other: a schedule can have no gap at all. */
const LOOK_BACK = 100

/**
 * Since when the site has been closed without a gap (ms); `null` while it is open.
 * Windows that were removed in the meantime count through the record's own `closedSince`.
 */
export function closedSince (record: StateRecord, schedule: Schedule, moment: Moment): number | null {
  const active = activeWindows(record, schedule, moment)
  if (active.length === 0) return null
  let since = Math.min(...active.map(startOf))
  for (let i = 0; i < LOOK_BACK; i++) {
    const windows = [...record.windows, ...scheduledNow(record, schedule, since - 1)]
    const earlier = windows.filter(window => startOf(window) < since && closedUntil(window) >= since)
    if (earlier.length === 0) break
    since = Math.min(...earlier.map(startOf))
  }
  const known = Date.parse(record.closedSince ?? '')
  return known < since && since <= Date.parse(record.at ?? '') ? known : since
}

/** When a window that is over ended. A run that is over but has not left is one whose lease ended. */
const closedUntil = (window: StoredWindow): number =>
  window.kind === 'run' ? Date.parse(window.lease as string) : endOf(window)

/** Stands for a closure that no record describes: a pinned server, or a state that is not known. */
export function assumedWindow (source: Source, now: number): StoredWindow {
  return {
    ...WINDOW_DEFAULTS,
    id: source,
    kind: 'now',
    mode: 'full' satisfies Mode,
    at: new Date(now).toISOString()
  }
}
