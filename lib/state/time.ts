import type { MaintenanceStore } from '../../types/index.ts'
import { parseDuration } from '../util/duration.ts'
import type { Rule } from '../util/validate.ts'

/** A time with its zone. `new Date()` would guess the zone, and take 30 February for 2 March. */
const ISO =
  /^(\d{4})-(\d{2})-(\d{2})T([01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?(?:Z|[+-](?:0\d|1[0-4]):?[0-5]\d)$/

/** @returns the time in UTC; `null` if it is not a valid time */
export function toTime (value: unknown): string | null {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : toTime(value.toISOString())
  const parts = typeof value === 'string' ? ISO.exec(value) : null
  if (parts === null) return null
  const [, year, month, day] = parts.map(Number) as [number, number, number, number]
  const calendar = new Date(Date.UTC(year, month - 1, day))
  if (calendar.getUTCMonth() !== month - 1 || calendar.getUTCDate() !== day) return null
  const time = new Date((value as string).replace(/([+-]\d\d)(\d\d)$/, '$1:$2'))
  return time.getTime() > LATEST ? null : time.toISOString()
}

/** Later ones have a year of five digits in UTC, and could not be read again. */
const LATEST = Date.parse('9999-12-31T23:59:59.999Z')

/** A time as it is stored; this version writes it in UTC. */
export const storedTime: Rule = {
  expected: 'a time with its zone',
  test: value => typeof value === 'string' && toTime(value) !== null
}

/** An instant, or a time that counts from another one. */
export type PointInTime = { readonly at: string } | { readonly after: number }

/** @returns `null` if it is neither a time nor `'+30m'` */
export function toPointInTime (value: unknown): PointInTime | null {
  if (typeof value === 'string' && value.startsWith('+')) {
    const after = parseDuration(value.slice(1))
    return after === null ? null : { after }
  }
  const at = toTime(value)
  return at === null ? null : { at }
}

/** @param base ms, from which a relative time counts */
export const resolveTime = (time: PointInTime, base: number): string =>
  'at' in time ? time.at : new Date(Math.min(base + time.after, LATEST)).toISOString()

/** A time as people and programs give it. */
export const pointInTime: Rule = {
  expected: "a Date, ISO 8601 with a zone such as '2026-12-01T03:00:00Z' or '2026-12-01T04:00+01:00', or '+30m'",
  test: value => toPointInTime(value) !== null
}

/** Windows begin and end by the clock of their store, if it has one. */
export const timeOf = (store: MaintenanceStore): number => store.now?.() ?? Date.now()
