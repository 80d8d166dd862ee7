import type { Rule } from './validate.ts'

const UNITS: { readonly [unit: string]: number } = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const TEN_YEARS = 3650 * 86_400_000

export const DURATION_EXPECTED = 'a duration such as 90s, 30m, 1h30m or 2d'

/** @returns ms; `null` if it is not a duration, or is zero or longer than 10 years */
export function parseDuration (text: string): number | null {
  if (!/^(\d{1,9}[smhd])+$/.test(text)) return null
  const parts = [...text.matchAll(/(\d+)([smhd])/g)]
  const length = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit as string] as number), 0)
  return length > 0 && length <= TEN_YEARS ? length : null
}

/** A duration in code: milliseconds, or text. @returns ms; `NaN` if it is neither */
export function toDuration (value: unknown): number {
  if (typeof value === 'number') return value
  return typeof value === 'string' ? parseDuration(value) ?? NaN : NaN
}

/** @param min ms @param max ms */
export const duration = (min: number, max: number): Rule => ({
  expected: `${DURATION_EXPECTED}, or milliseconds, from ${inUnits(min)} to ${inUnits(max)}`,
  test: value => Number.isInteger(toDuration(value)) && toDuration(value) >= min && toDuration(value) <= max
})

function inUnits (ms: number): string {
  const [unit = 'ms', length = 1] =
    Object.entries(UNITS)
      .reverse()
      .find(([, length]) => ms >= length && ms % length === 0) ?? []
  return `${ms / length}${unit}`
}
