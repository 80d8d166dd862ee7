import type { IgnoredRoute, Message } from '../../types/index.ts'
import { messageOf, show } from '../errors.ts'
import { checkOpening, checkSet, checkUpdate, type Change } from '../state/change.ts'
import { readDuration, UsageError, type Values } from './parse.ts'

/** What `on` writes. @throws UsageError */
export const readOn = (values: Values): Change => check(checkSet, readFields(values))

/** What `off` writes. @throws UsageError */
export const readOff = ({ by, force }: Values): Change & { force?: boolean } => check(checkOpening, { by, force })

/** What `extend` writes. @param end a duration or a time */
export const readExtend = ({ by }: Values, end: string): Change =>
  check(checkUpdate, { by, endsAt: /^\d+[smhd]?/.test(end) && !end.includes('-') ? `+${ending(end)}` : end })

const ending = (text: string): string => {
  readDuration('the duration', text)
  return text
}

/** What `change` writes; lists are added to what `current` has. @throws UsageError */
export function readUpdate (values: Values, current: { ignoreRoutes: readonly IgnoredRoute[], ignoreIps: readonly string[], onlyRoutes: readonly string[] }): Change {
  const { ignoreRoutes, ignoreIps, onlyRoutes, bypass, ...fields } = readFields(values)
  return check(checkUpdate, {
    ...fields,
    ...(values['no-message'] === true ? { message: null } : {}),
    ...(values['no-end'] === true ? { endsAt: null } : {}),
    ...(values['no-retry-after'] === true ? { retryAfter: null } : {}),
    bypass: values['no-bypass'] === true ? null : bypass,
    ignoreRoutes: merge(current.ignoreRoutes, ignoreRoutes, values['no-ignore-route'], route => typeof route === 'string' ? route : route.pattern),
    ignoreIps: merge(current.ignoreIps, ignoreIps, values['no-ignore-ip'], ip => ip),
    onlyRoutes: emptyIsAll(merge(current.onlyRoutes, onlyRoutes, values['no-only-route'], route => route))
  })
}

function merge<T> (current: readonly T[], added: readonly string[] | undefined, removed: readonly string[] | undefined, nameOf: (entry: T | string) => string): (T | string)[] | undefined {
  if (added === undefined && removed === undefined) return undefined
  const kept = current.filter(entry => !removed?.includes(nameOf(entry)))
  return [...kept, ...(added ?? []).filter(name => !kept.some(entry => nameOf(entry) === name))]
}

const emptyIsAll = <T>(list: T[] | undefined): T[] | null | undefined => list?.length === 0 ? null : list

function readFields (values: Values) {
  const { by, mode, bypass, 'starts-at': startsAt, 'ends-at': endsAt, 'retry-after': retryAfter } = values
  if (values.for !== undefined && endsAt !== undefined) throw new UsageError('--for and --ends-at mean the same: use one of them')
  if (values.in !== undefined && startsAt !== undefined) throw new UsageError('--in and --starts-at mean the same: use one of them')
  return {
    message: readMessage(values),
    mode,
    startsAt: values.in === undefined ? startsAt : relative('--in', values.in),
    endsAt: values.for === undefined ? endsAt : relative('--for', values.for),
    retryAfter: retryAfter === undefined ? undefined : readNumber(retryAfter),
    ignoreRoutes: values['ignore-route'],
    ignoreIps: values['ignore-ip'],
    onlyRoutes: values['only-route'],
    bypass,
    by
  }
}

function relative (name: string, text: string): string {
  readDuration(name, text)
  return `+${text}`
}

function readMessage ({ message, 'message-lang': languages }: Values): Message | undefined {
  if (languages === undefined) return message
  const texts = languages.map(entry => {
    const at = entry.indexOf('=')
    if (at < 1) throw new UsageError(`--message-lang is ${show(entry)}, expected LANGUAGE=TEXT, such as de=Bald`)
    return [entry.slice(0, at), entry.slice(at + 1)]
  })
  return { ...(message === undefined ? {} : { en: message }), ...Object.fromEntries(texts) }
}

function readNumber (digits: string): number {
  if (!/^\d+$/.test(digits)) throw new UsageError(`--retry-after is ${show(digits)}, expected seconds, such as 300`)
  return Number(digits)
}

/** The error names the option as it is typed here: `--ends-at`, not `endsAt`. */
function check<T> (rule: (change: unknown) => T, change: object): T {
  try {
    return rule(change)
  } catch (error) {
    throw new UsageError(toOption(messageOf(error)))
  }
}

const toOption = (text: string): string => text
  .replace(/^maintenance: (ignoreRoutes|ignoreIps|onlyRoutes)\[\d+\](?:\.\w+)?/, (_match, name: string) => `--${LISTS[name]}`)
  .replace(/^maintenance: ([a-z]+[A-Z]?\w*)(?= is )/, (_match, name: string) => `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`)
  .replace(/^maintenance: /, '')

const LISTS: { readonly [field: string]: string } = { ignoreRoutes: 'ignore-route', ignoreIps: 'ignore-ip', onlyRoutes: 'only-route' }
