const UNITS: readonly [number, string][] = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1000, 'second']
]

/** `2026-12-01 03:00 (in 2 hours)`, in the time zone of the reader. */
export function timeInWords (iso: string | null, now = Date.now()): string {
  if (iso === null) return 'an unknown time'
  const date = new Date(iso)
  const two = (number: number): string => String(number).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())} (${relative(date.getTime() - now)})`
}

/** Replaces each time of ours in a text. */
export const timesInWords = (text: string): string =>
  text.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, iso => timeInWords(iso))

function relative (ms: number): string {
  const length = Math.abs(ms)
  const [unit, name] = UNITS.find(([unit]) => length >= unit) ?? []
  if (unit === undefined) return 'now'
  const count = Math.round(length / unit)
  const words = `${count} ${name}${count === 1 ? '' : 's'}`
  return ms > 0 ? `in ${words}` : `${words} ago`
}
