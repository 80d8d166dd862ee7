import { Cron } from 'croner'
import type { Mode } from '../../types/index.ts'

/** A recurring window, as checked. */
export interface ScheduleEntry {
  readonly cron: string
  /** ms */
  readonly duration: number
  readonly timeZone: string | undefined
  readonly mode: Mode
  readonly message: string | null
}

/** One window of a schedule; times in ms. */
export interface Occurrence {
  readonly entry: ScheduleEntry
  readonly startsAt: number
  readonly endsAt: number
}

export interface Schedule {
  /** The window that is under way, or ended last among those that overlap. */
  current (now: number): Occurrence | null
  /** The first window that has not begun. */
  next (now: number): Occurrence | null
}

/** Recurring windows, in their own time zones, daylight saving included. */
export function createSchedule (entries: readonly ScheduleEntry[]): Schedule {
  const crons = entries.map(entry => ({ entry, cron: toCron(entry.cron, entry.timeZone) }))

  function first (after: (entry: ScheduleEntry) => number): Occurrence[] {
    return crons.flatMap(({ entry, cron }) => {
      const startsAt = cron.nextRun(new Date(after(entry)))?.getTime()
      return startsAt === undefined ? [] : [{ entry, startsAt, endsAt: startsAt + entry.duration }]
    })
  }

  return {
    current: now => first(entry => now - entry.duration).filter(({ startsAt }) => startsAt <= now).sort((a, b) => b.endsAt - a.endsAt)[0] ?? null,
    next: now => first(() => now).sort((a, b) => a.startsAt - b.startsAt)[0] ?? null
  }
}

/** @throws with croner's words where the pattern or the time zone is wrong */
export function toCron (pattern: string, timeZone: string | undefined): Cron {
  const cron = new Cron(pattern, { paused: true, ...(timeZone === undefined ? {} : { timezone: timeZone }) })
  cron.nextRun()
  return cron
}
