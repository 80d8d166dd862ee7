import type { StateRecord } from './record.ts'

/** Is the site closed by this record at `now` (ms)? */
export function isActive (record: StateRecord, now = Date.now()): boolean {
  return record.on && !isAhead(record, now) && !isOver(record, now)
}

/** Has its end passed? */
export function isOver (record: StateRecord, now = Date.now()): boolean {
  return record.endsAt !== null && Date.parse(record.endsAt) <= now
}

function isAhead (record: StateRecord, now: number): boolean {
  return record.startsAt !== null && Date.parse(record.startsAt) > now
}

/** How often a pending start or end is looked at, ms. */
const LOOK_EVERY = 1000

/**
 * Calls `onTurn` at the start and at the end of the record's window. It looks at the clock each second
 * rather than once at the end: a timer stands still while the machine sleeps, and cannot wait for more
 * than 2^31 ms.
 * @returns the way to cancel
 */
export function watchWindow (record: StateRecord, onTurn: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  let active = isActive(record)

  function wait (): void {
    const now = Date.now()
    const next = [record.startsAt, record.endsAt].map(time => Date.parse(time ?? '')).find(time => time > now)
    if (!record.on || next === undefined) return
    timer = setTimeout(look, Math.min(next - now, LOOK_EVERY)).unref()
  }

  function look (): void {
    wait()
    if (isActive(record) === active) return
    active = !active
    onTurn()
  }

  wait()
  return () => clearTimeout(timer)
}
