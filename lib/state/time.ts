import type { MaintenanceStore } from '../../types/index.ts'
import type { Rule } from '../util/validate.ts'

/** A time with its zone: what `new Date()` would guess (no zone, 30 February) is none. */
const ISO = /^(\d{4})-(\d{2})-(\d{2})T([01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?(?:Z|[+-](?:0\d|1[0-4]):?[0-5]\d)$/

/** @returns the time in UTC, or `null` for what is none */
export function toTime (value: unknown): string | null {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : toTime(value.toISOString())
  const parts = typeof value === 'string' ? ISO.exec(value) : null
  if (parts === null) return null
  const [, year, month, day] = parts.map(Number) as [number, number, number, number]
  const calendar = new Date(Date.UTC(year, month - 1, day))
  if (calendar.getUTCMonth() !== month - 1 || calendar.getUTCDate() !== day) return null
  return new Date((value as string).replace(/([+-]\d\d)(\d\d)$/, '$1:$2')).toISOString()
}

/** A time as people and programs give it. */
export const isoTime: Rule = {
  expected: "a Date, or ISO 8601 with a zone, such as '2026-12-01T03:00:00Z' or '2026-12-01T04:00+01:00'",
  test: value => toTime(value) !== null
}

/** A time as it is stored. */
export const utcTime: Rule = { expected: 'a time in UTC', test: value => typeof value === 'string' && toTime(value) === value }

const UNITS: { readonly [unit: string]: number } = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

export const DURATION_EXPECTED = 'a duration such as 90s, 30m, 1h30m or 2d'

/** @returns ms, or `null` for what is no duration, or lasts for ever (more than 10 years) or no time */
export function parseDuration (text: string): number | null {
  if (!/^(\d{1,9}[smhd])+$/.test(text)) return null
  const length = [...text.matchAll(/(\d+)([smhd])/g)].reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit as string] as number), 0)
  return length > 0 && length <= 3650 * 86_400_000 ? length : null
}

/** Windows begin and end by the clock of their store, if it has one. */
export const timeOf = (store: MaintenanceStore): number => store.now?.() ?? Date.now()
