import type { Upcoming } from '../../types/index.ts'
import type { StateRecord } from './record.ts'
import { NEVER_WRITTEN } from './record.ts'
import type { Occurrence, Schedule } from './schedule.ts'

/** Is the site closed by this record at `now` (ms)? */
export function isActive (record: StateRecord, now: number): boolean {
  return record.on && !isAhead(record, now) && !isOver(record, now)
}

/** Has its end passed? */
export function isOver (record: StateRecord, now: number): boolean {
  return record.endsAt !== null && Date.parse(record.endsAt) <= now
}

/** Has it been announced, and not begun? */
export function isAhead (record: Pick<StateRecord, 'on' | 'startsAt'>, now: number): boolean {
  return record.on && record.startsAt !== null && Date.parse(record.startsAt) > now
}

/**
 * The record that counts at `now`: the operator's while it closes the site, else that of a scheduled window. Who
 * switches off during a scheduled window opens the site for the rest of it.
 */
export function recordThatCounts (record: StateRecord, schedule: Schedule, now: number): StateRecord {
  if (isActive(record, now)) return record
  const occurrence = schedule.current(now)
  const switchedOff = occurrence !== null && !record.on && Date.parse(record.at ?? '') >= occurrence.startsAt
  return occurrence === null || switchedOff ? record : scheduled(occurrence, record.revision)
}

/** A window of the schedule, as if an operator had set it. */
function scheduled ({ entry, startsAt, endsAt }: Occurrence, revision: number): StateRecord {
  const begin = new Date(startsAt).toISOString()
  return {
    ...NEVER_WRITTEN,
    revision,
    on: true,
    mode: entry.mode,
    message: entry.message,
    startsAt: begin,
    endsAt: new Date(endsAt).toISOString(),
    windowId: `schedule ${begin}`,
    by: 'schedule',
    at: begin
  }
}

/** The next window, announced by the record or by the schedule. */
export function upcomingOf (record: StateRecord, schedule: Schedule, now: number): Upcoming | null {
  const announced = isAhead(record, now) ? record : null
  const occurrence = schedule.next(now)
  const next = occurrence === null ? null : scheduled(occurrence, 0)
  const first = [announced, next].filter(window => window !== null)
    .sort((a, b) => Date.parse(a.startsAt as string) - Date.parse(b.startsAt as string))[0]
  if (first === undefined) return null
  const { startsAt, endsAt, mode, message } = first
  return { startsAt: startsAt as string, endsAt, mode, message }
}

/** How often the clock is looked at while a start or an end is ahead, ms. */
const LOOK_EVERY = 1000

/**
 * Calls `look` when the next turn (a start or an end) has come. It looks at the clock each second rather than once at
 * the end: a timer stands still while the machine sleeps, and cannot wait for more than 2^31 ms.
 * @param nextTurn ms, or `null` where none is ahead; asked again after each look
 * @returns the way to stop
 */
export function watchTurns (nextTurn: () => number | null, clock: () => number, look: () => void): () => void {
  let timer: NodeJS.Timeout | undefined

  function wait (turn: number | null): void {
    if (turn === null) return
    timer = setTimeout(() => {
      if (clock() < turn) return wait(turn)
      look()
      wait(nextTurn())
    }, Math.min(Math.max(turn - clock(), 0), LOOK_EVERY)).unref()
  }

  wait(nextTurn())
  return () => clearTimeout(timer)
}

/** The next start or end after `now`, of the record or the schedule. */
export function turnAfter (record: StateRecord, schedule: Schedule, now: number): number | null {
  const current = schedule.current(now)
  const next = schedule.next(now)
  const turns = [
    ...(record.on ? [Date.parse(record.startsAt ?? ''), Date.parse(record.endsAt ?? '')] : []),
    current?.endsAt ?? NaN,
    next?.startsAt ?? NaN
  ].filter(turn => turn > now)
  return turns.length === 0 ? null : Math.min(...turns)
}
