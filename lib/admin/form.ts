import type { Message, WindowStatus } from '../../types/index.ts'
import { toTime } from '../state/time.ts'
import { isObject } from '../util/validate.ts'
import type { Input } from './input.ts'

/** One row of the routes that stay open. */
export interface RouteRow { readonly pattern: string, readonly description: string }

/** The contents of the fields of a form, as they are shown. */
export interface Fields {
  /** The texts by language; a text without a language has the language `''`. */
  readonly message: readonly (readonly [language: string, text: string])[]
  readonly mode: string
  readonly startsAt: string
  readonly endsAt: string
  readonly retryAfter: string
  readonly bypass: string
  readonly ignoreRoutes: readonly RouteRow[]
  /** One per line. */
  readonly ignoreIps: string
  readonly onlyRoutes: string
}

export const EMPTY_FIELDS: Fields = {
  message: [['', '']],
  mode: 'full',
  startsAt: '',
  endsAt: '',
  retryAfter: '',
  bypass: '',
  ignoreRoutes: [],
  ignoreIps: '',
  onlyRoutes: ''
}

/** What a window fills into its form. */
export function fieldsOf (window: WindowStatus): Fields {
  const { message, mode, startsAt, endsAt, retryAfter, ignoreRoutes, ignoreIps, onlyRoutes } = window
  return {
    message: textsOf(message),
    mode,
    startsAt: shownTime(startsAt),
    endsAt: shownTime(endsAt),
    retryAfter: retryAfter === null ? '' : String(retryAfter),
    bypass: '',
    ignoreRoutes: ignoreRoutes.map(({ pattern, description }) => ({ pattern, description: description ?? '' })),
    ignoreIps: ignoreIps.join('\n'),
    onlyRoutes: onlyRoutes.join('\n')
  }
}

function textsOf (message: Message | null): [string, string][] {
  return isObject(message) ? Object.entries(message as Record<string, string>) : [['', message as string | null ?? '']]
}

/** For an input of type `datetime-local`: without a zone, which the label names. */
function shownTime (time: string | null): string {
  return time === null ? '' : time.slice(0, 19).replace(/:00$/, '')
}

/** The names of a form that are not part of a change. */
const OTHER_NAMES: readonly string[] = [
  'site',
  'action',
  'window',
  'force',
  'token',
  'was',
  'changedAt',
  'ignoreRoutesDescription'
]

/** A form with one text per language has a field for each: `message.de`. */
const MESSAGE = 'message.'

/** An empty field of these changes nothing, because there is nothing to unset. */
const NEVER_UNSET: readonly string[] = ['mode', 'bypass', 'by', 'expectedRevision']

const READERS: { readonly [name: string]: (value: string) => unknown } = {
  message: readText,
  startsAt: readTime,
  endsAt: readTime,
  retryAfter: readNumber,
  expectedRevision: readNumber,
  bypass: readBoolean
}

/**
 * Reads a form as the JSON that says the same. An absent field changes nothing, an empty one is unset, and times
 * without a zone are in UTC.
 */
export function readForm (form: URLSearchParams): Input {
  const action = form.get('action') || undefined
  const unset = action === 'update' ? null : undefined
  const names = new Set([...form.keys()].map(name => name.startsWith(MESSAGE) ? 'message' : name))
  const fields = [...names]
    .filter(name => !OTHER_NAMES.includes(name))
    .map(name => [name, readField(form, name, unset)] as const)
  return {
    site: form.get('site') || undefined,
    action,
    window: form.get('window') || undefined,
    force: readBoolean(form.get('force') ?? '') || undefined,
    change: Object.fromEntries(fields.filter(([, value]) => value !== undefined))
  }
}

/** @param unset for an empty field */
function readField (form: URLSearchParams, name: string, unset: null | undefined): unknown {
  if (name === 'ignoreRoutes') {
    return listOr(
      unset,
      routesIn(form).map(({ pattern, description }) => ({ pattern, description: description || null }))
    )
  }
  if (name === 'ignoreIps' || name === 'onlyRoutes') return listOr(unset, form.getAll(name).flatMap(linesOf))
  if (name === 'message' && !form.has(name)) return readMessages(form) ?? unset
  const value = form.getAll(name).at(-1) as string
  if (value.trim() === '') return NEVER_UNSET.includes(name) ? undefined : unset
  return Object.hasOwn(READERS, name) ? READERS[name]?.(value) : value
}

const listOr = <T, U>(unset: U, list: readonly T[]): readonly T[] | U => list.length === 0 ? unset : list

const linesOf = (text: string): string[] => text.split('\n').map(line => line.trim()).filter(line => line !== '')

/** A language without a text is left out. */
function readMessages (form: URLSearchParams): Record<string, string> | undefined {
  const texts = messagesIn(form).filter(([, text]) => text.trim() !== '')
  return texts.length === 0 ? undefined : Object.fromEntries(texts)
}

function messagesIn (form: URLSearchParams): [language: string, text: string][] {
  return [...form]
    .filter(([name]) => name.startsWith(MESSAGE))
    .map(([name, text]) => [name.slice(MESSAGE.length), readText(text)])
}

/** The n-th description belongs to the n-th path. Empty rows are left out. */
function routesIn (form: URLSearchParams): RouteRow[] {
  const descriptions = form.getAll('ignoreRoutesDescription')
  return form.getAll('ignoreRoutes').flatMap((text, i): RouteRow[] => {
    const [pattern = '', ...more] = linesOf(text)
    const description = (descriptions[i] ?? '').trim()
    return [
      ...(pattern === '' && description === '' ? [] : [{ pattern, description }]),
      ...more.map(pattern => ({ pattern, description: '' }))
    ]
  })
}

/** Browsers send line breaks as CR LF. */
function readText (value: string): string {
  return value.replaceAll('\r\n', '\n')
}

function readTime (text: string): string {
  const value = text.trim()
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?$/.test(value) ? `${value}Z` : value
}

function readNumber (value: string): unknown {
  return /^\s*\d{1,16}\s*$/.test(value) ? Number(value) : value
}

function readBoolean (value: string): unknown {
  return value === 'true' ? true : value === 'false' ? false : value
}

/** What was typed into a form, to show it again. Fields that it doesn't have are absent. */
export function typedIn (form: URLSearchParams): Partial<Fields> {
  const messages = messagesIn(form)
  const text = (name: string): string => readText(form.get(name) ?? '')
  const time = (name: string): string => shownTime(toTime(readTime(text(name)))) || text(name)
  const all: Fields = {
    message: messages.length > 0 ? messages : [['', text('message')]],
    mode: text('mode'),
    startsAt: time('startsAt'),
    endsAt: time('endsAt'),
    retryAfter: text('retryAfter'),
    bypass: text('bypass'),
    ignoreRoutes: routesIn(form),
    ignoreIps: text('ignoreIps'),
    onlyRoutes: text('onlyRoutes')
  }
  return pick(all, name => form.has(name) || (name === 'message' && messages.length > 0))
}

/** What the fields of a form contained when the page was made; `null`: the form doesn't say. */
export function shownIn (form: URLSearchParams): Partial<Fields> | null {
  try {
    const shown: unknown = JSON.parse(form.get('was') ?? '')
    return isObject(shown) ? shown : null
  } catch {
    return null
  }
}

/** What somebody has typed, without the fields that are still as they were shown. */
export function changedFields (typed: Partial<Fields>, shown: Partial<Fields> | null): Partial<Fields> {
  return shown === null ? typed : pick(typed, name => JSON.stringify(typed[name]) !== JSON.stringify(shown[name]))
}

function pick (fields: Partial<Fields>, isWanted: (name: keyof Fields) => boolean): Partial<Fields> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => isWanted(name as keyof Fields)))
}

/** Leaves fields out of a change that are as they were shown: what somebody else has changed there meanwhile stays. */
export function withoutUnchanged (input: Input, form: URLSearchParams): Input {
  const shown = shownIn(form)
  if (input.action !== 'update' || shown === null) return input
  const changed = changedFields(typedIn(form), shown)
  const entries = Object.entries(input.change).filter(
    ([name]) => !Object.hasOwn(shown, name) || Object.hasOwn(changed, name)
  )
  return { ...input, change: Object.fromEntries(entries) }
}

/** Does a change name nothing that could change? */
export const isEmptyUpdate = ({ action, change }: Input): boolean =>
  action === 'update' && Object.keys(change).every(name => name === 'by' || name === 'expectedRevision')
