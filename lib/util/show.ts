import { inspect } from 'node:util'

const TEXT_MAX = 100
const ENTRIES_MAX = 5
const SHOWN_MAX = 300

/** At most `max` characters of it. */
export const cut = (text: string, max: number): string => text.length <= max ? text : `${text.slice(0, max)}…`

/** What may be the user and password of an address: everything before the last `@`. */
export const hideCredentials = (text: string): string => {
  const at = text.lastIndexOf('@')
  return at === -1 ? text : `…${text.slice(at)}`
}

/**
 * A value as it stands in an error message: one line, without what may be the password of an address. It costs the
 * same for a value of any size: what is stored, or sent by a visitor, may be anything.
 */
export const show = (value: unknown): string => cut(format(value, 1), SHOWN_MAX)

/** Its kind only, for values that may be secrets. */
export function showType (value: unknown): string {
  if (value === undefined || value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return value === '' ? 'empty' : 'text'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

function format (value: unknown, depth: number): string {
  if (typeof value === 'string') return inspect(cut(hideCredentials(value), TEXT_MAX))
  if (Array.isArray(value)) {
    return formatList('[', ']', '[Array]', value.slice(0, ENTRIES_MAX), value.length, depth, entry =>
      format(entry, depth - 1)
    )
  }
  if (!isPlain(value)) return inspect(value, { depth: -1, breakLength: Infinity })
  const names = Object.keys(value)
  return formatList(
    '{',
    '}',
    '[Object]',
    names.slice(0, ENTRIES_MAX),
    names.length,
    depth,
    name => `${formatName(name)}: ${format(value[name], depth - 1)}`
  )
}

function formatList<T> (
  begin: string,
  end: string,
  closed: string,
  entries: T[],
  length: number,
  depth: number,
  formatEntry: (entry: T) => string
): string {
  if (length === 0) return `${begin}${end}`
  if (depth < 0) return closed
  const more = length > entries.length ? [`… ${length - entries.length} more`] : []
  return `${begin} ${[...entries.map(formatEntry), ...more].join(', ')} ${end}`
}

const formatName = (name: string): string =>
  /^[A-Za-z_$][\w$]{0,40}$/.test(name) ? name : inspect(cut(hideCredentials(name), 40))

function isPlain (value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
