import { Cron } from 'croner'
import type { Mode } from '../../types/index.ts'
import { WINDOW_DEFAULTS, type StoredWindow } from './record.ts'

/** A recurring window, as checked. */
export interface ScheduleEntry {
  readonly cron: string
  /** ms */
  readonly duration: number
  readonly timeZone: string | undefined
  readonly mode: Mode
  readonly message: StoredWindow['message']
}

/** Computes the windows of a schedule; they are never stored. */
export interface Schedule {
  /** The windows under way at `now` (ms). */
  current (now: number): StoredWindow[]
  /** The next window of each entry. */
  next (now: number): StoredWindow[]
}

export const NO_SCHEDULE: Schedule = { current: () => [], next: () => [] }

/** Recurring windows, in their own time zones, daylight saving included. */
export function createSchedule (entries: readonly ScheduleEntry[]): Schedule {
  if (entries.length === 0) return NO_SCHEDULE
  const crons = entries.map(entry => ({ entry, cron: toCron(entry.cron, entry.timeZone) }))

  function firstAfter (after: (entry: ScheduleEntry) => number): StoredWindow[] {
    return crons.flatMap(({ entry, cron }, i) => {
      const start = cron.nextRun(new Date(after(entry)))
      return start === null ? [] : [toWindow(entry, i, start)]
    })
  }

  return {
    current: now => firstAfter(entry => now - entry.duration).filter(({ at }) => Date.parse(at) <= now),
    next: now => firstAfter(() => now)
  }
}

function toWindow ({ duration, mode, message }: ScheduleEntry, i: number, start: Date): StoredWindow {
  const at = start.toISOString()
  return {
    ...WINDOW_DEFAULTS,
    // entries may start at the same time
    id: `schedule-${i}-${at}`,
    kind: 'scheduled',
    startsAt: at,
    endsAt: new Date(start.getTime() + duration).toISOString(),
    mode,
    message,
    by: 'schedule',
    at
  }
}

/** @throws with croner's words if the pattern or the time zone is wrong */
export function toCron (pattern: string, timeZone: string | undefined): Cron {
  return new Cron(pattern, { paused: true, ...(timeZone === undefined ? {} : { timezone: timeZone }) })
}

/** How many starts of an entry are looked at for overlaps: more than a year of daily ones. */
const LOOK_AHEAD = 400

/** What keeps a schedule entry from working, in words; `null`: nothing. */
export function scheduleProblem (cron: Cron, duration: number): string | null {
  const starts = cron.nextRuns(LOOK_AHEAD)
  if (starts.length === 0) return 'it never fires'
  const overlap = starts.findIndex(
    (start, i) => i > 0 && start.getTime() - (starts[i - 1] as Date).getTime() < duration
  )
  return overlap === -1
    ? null
    : `it starts again at ${starts[overlap]?.toISOString()}, before the window before that has ended`
}
