import type { MaintenanceChange, MaintenanceUpdate } from '../../types/index.ts'
import { show } from '../errors.ts'
import { fail, type Change } from '../state/change.ts'
import { findTarget, updateWindow, type Edit } from '../state/edit.ts'
import type { StoredWindow } from '../state/record.ts'
import { resolveTime } from '../state/time.ts'
import { DURATION_EXPECTED, parseDuration } from '../util/duration.ts'
import { startOf } from '../state/window.ts'
import type { OptionName } from './options.ts'
import { optionOf, UsageError } from './output.ts'

type Values = ReadonlyMap<OptionName, readonly string[]>

const one = (values: Values, name: OptionName): string | undefined => values.get(name)?.[0]

/** The options of a window, as `set()` and `update()` accept them. Options that were not given are `undefined`. */
export function readWindow (values: Values, by: string | undefined): MaintenanceChange {
  return {
    message: readMessage(values),
    // checked with the rest of the change
    mode: one(values, 'mode') as MaintenanceChange['mode'],
    startsAt: readTime(values, 'starts-at', 'in'),
    endsAt: readTime(values, 'ends-at', 'for'),
    retryAfter: readSeconds(one(values, 'retry-after')),
    ignoreRoutes: values.get('ignore-route') as string[] | undefined,
    ignoreIps: values.get('ignore-ip') as string[] | undefined,
    onlyRoutes: values.get('only-route') as string[] | undefined,
    bypass: values.has('bypass') ? true : undefined,
    by
  }
}

function readMessage (values: Values): MaintenanceChange['message'] {
  const text = one(values, 'message')
  const byLanguage = values
    .get('message-lang')
    ?.map(entry => /^([^=]+)=([^]*)$/.exec(entry)?.slice(1) ?? refuse('message-lang', entry, 'LANG=TEXT'))
  if (byLanguage === undefined) return text
  return { ...(text === undefined ? {} : { en: text }), ...Object.fromEntries(byLanguage) }
}

function readTime (values: Values, timeOption: OptionName, durationOption: OptionName): string | undefined {
  const [time, duration] = [one(values, timeOption), one(values, durationOption)]
  if (time !== undefined && duration !== undefined) {
    throw new UsageError(`--${timeOption} and --${durationOption} mean the same: give one of them`)
  }
  if (duration === undefined) return time
  readDuration(durationOption, duration)
  return `+${duration}`
}

/** @returns ms */
export function readDuration (option: OptionName, text: string): number {
  const length = parseDuration(text)
  if (length !== null) return length
  return refuse(option, text, /^\d+$/.test(text) ? `a unit: ${text}s, ${text}m, ${text}h` : DURATION_EXPECTED)
}

function readSeconds (digits: string | undefined): number | undefined {
  if (digits === undefined) return undefined
  return /^\d+$/.test(digits) ? Number(digits) : refuse('retry-after', digits, 'seconds, from 1 to 31536000')
}

export function refuse (option: OptionName, value: string, expected: string): never {
  throw new UsageError(`--${option} is ${show(value)}, expected ${expected}`)
}

/**
 * The same for `change`, where options remove things, too. Lists are merged with those of the window when it is
 * written.
 */
export function readUpdate (values: Values, by: string | undefined): MaintenanceUpdate {
  const given = readWindow(values, by)
  const removes = (list: OptionName): null | undefined => values.has(list) ? null : undefined
  return {
    ...given,
    message: given.message ?? removes('no-message'),
    endsAt: given.endsAt ?? removes('no-end'),
    retryAfter: given.retryAfter ?? removes('no-retry-after'),
    ignoreRoutes: given.ignoreRoutes ?? removes('no-ignore-route'),
    ignoreIps: given.ignoreIps ?? removes('no-ignore-ip'),
    onlyRoutes: given.onlyRoutes ?? removes('no-only-route'),
    bypass: given.bypass ?? (values.has('no-bypass') ? false : undefined)
  }
}

/** `change`: lists grow and shrink, one language of a message is replaced, `--for` is the length of the window. */
export const changeWindow = (change: Change, values: Values, id: string | undefined): Edit => context => {
  const target = findTarget(context, id)
  const next = { ...change, ...mergeLists(target, change, values), ...mergeMessage(target, change, values) }
  return updateWindow({ ...next, ...readLength(target, change, values, context.moment.now) }, id)(context)
}

function mergeLists (target: StoredWindow, change: Change, values: Values): Partial<Change> {
  const ips = merge('ignoreIp', target.ignoreIps, change.ignoreIps, values.get('no-ignore-ip'), ip => ip)
  const only = merge('onlyRoute', target.onlyRoutes, change.onlyRoutes, values.get('no-only-route'), route => route)
  const routes = merge(
    'ignoreRoute',
    target.ignoreRoutes,
    change.ignoreRoutes,
    values.get('no-ignore-route'),
    route => route.pattern
  )
  return { ...(ips && { ignoreIps: ips }), ...(only && { onlyRoutes: only }), ...(routes && { ignoreRoutes: routes }) }
}

function merge<T> (
  field: string,
  present: readonly T[],
  added: readonly T[] | undefined,
  removed: readonly string[] = [],
  keyOf: (entry: T) => string
): T[] | undefined {
  if (added === undefined) return undefined
  const keys = present.map(keyOf)
  const missing = removed.find(key => !keys.includes(key))
  if (missing !== undefined) {
    throw fail(
      optionOf(`no${field[0]?.toUpperCase()}${field.slice(1)}`),
      missing,
      keys.length === 0 ? 'nothing: there is none' : `one of ${keys.join(', ')}`
    )
  }
  const kept = present.filter(entry => !removed.includes(keyOf(entry)))
  return [...kept, ...added.filter(entry => !kept.map(keyOf).includes(keyOf(entry)))]
}

function mergeMessage ({ message }: StoredWindow, change: Change, values: Values): Partial<Change> {
  if (!values.has('message-lang') || values.has('message') || typeof change.message !== 'object') return {}
  const before = typeof message === 'string' ? { en: message } : message
  return { message: { ...before, ...change.message } }
}

function readLength (target: StoredWindow, { startsAt }: Change, values: Values, now: number): Partial<Change> {
  const length = one(values, 'for')
  if (length === undefined) return {}
  const start = startsAt === undefined || startsAt === null ? startOf(target) : Date.parse(resolveTime(startsAt, now))
  return { endsAt: { at: new Date(Math.max(start, now) + readDuration('for', length)).toISOString() } }
}
