import type { ChangeKind, IgnoredRoute, Message, Mode, WindowKind } from '../../types/index.ts'
import { messageOf, show, UnreadableError } from '../errors.ts'
import { isFarAhead, isRevision } from '../util/revision.ts'
import { either, integer, isObject, literal, type Rule } from '../util/validate.ts'
import { storedTime, toTime } from './time.ts'

/**
 * One period of maintenance, as it is stored. Times are ISO strings in UTC.
 * Records of later versions may hold more keys, other modes and other kinds.
 */
export interface StoredWindow {
  readonly id: string
  /** `now`, `planned` or `run`; any other kind closes the site between its start and its end. */
  readonly kind: string
  /** `null`: since it was created (`at`). */
  readonly startsAt: string | null
  readonly endsAt: string | null
  /** Any mode that this version does not know counts as `full`: see `modeOf`. */
  readonly mode: string
  readonly message: Message | null
  /** Seconds. */
  readonly retryAfter: number | null
  readonly ignoreRoutes: readonly IgnoredRoute[]
  readonly ignoreIps: readonly string[]
  /** Empty: the whole site. */
  readonly onlyRoutes: readonly string[]
  /** The keyed hash of the bypass secret. */
  readonly bypass: string | null
  /** Of a run: when it ends unless it is renewed, by the clock of the store. */
  readonly lease: string | null
  readonly by: string | null
  /** When it was created. */
  readonly at: string
  /** Of a run: the process that does the work. */
  readonly host?: string
  readonly pid?: number
  /** Of a run: the site stays closed if the work fails or its lease ends. */
  readonly stayClosed?: boolean
}

/** What a write did, for the history. */
export interface ChangeNote extends Partial<Pick<StoredWindow, 'mode' | 'message' | 'startsAt' | 'endsAt'>> {
  readonly kind: ChangeKind
  /** The id of the window that was added, changed or removed; `null`: several, or none. */
  readonly window: string | null
  /** A run has ended. */
  readonly ended?: boolean
  /** Of the record that it made. */
  readonly revision?: number
}

/** What is stored for a site. */
export interface StateRecord {
  readonly v: 2
  readonly revision: number
  /** When `set(false)` last opened the site: scheduled windows that began before it are over. */
  readonly openedAt: string | null
  /** Since when the site had been closed without a gap at the time of the write. */
  readonly closedSince: string | null
  readonly windows: readonly StoredWindow[]
  /** Who changed it last, and when; the renewal of a lease is no change. */
  readonly by: string | null
  readonly at: string | null
  readonly change?: ChangeNote
}

/** A site that was never written is open. */
export const NEVER_WRITTEN: StateRecord = Object.freeze({
  v: 2, revision: 0, openedAt: null, closedSince: null, windows: [], by: null, at: null
})

/**
 * Were both made by the same change? The renewal of a lease is no change; two changes may be made in the same
 * millisecond.
 */
export const isSameChange = (one: StateRecord, other: StateRecord): boolean =>
  one.at === other.at && one.change?.revision === other.change?.revision

/** Characters of a stored record; longer ones are not parsed. */
export const RECORD_MAX = 1024 * 1024
/**
 * Longer records must begin as `serialiseRecord` writes them: parsing other text of that size would hold up the
 * process.
 */
const FOREIGN_MAX = 64 * 1024
const OWN_BEGIN = '{"v":2,'
export const ROUTES_MAX = 10_000
const WINDOWS_MAX = 1000
export const MESSAGE_MAX = 10_000
export const NAME_MAX = 200
export const PLANNED_MAX = 20
export const RUNS_MAX = 100
export const MODES: readonly Mode[] = ['full', 'hold', 'read-only']
/** The kinds that are stored; scheduled windows are computed. */
export const KINDS: readonly WindowKind[] = ['now', 'planned', 'run']

export const mode = literal('full', 'read-only', 'hold')

export const modeOf = ({ mode }: Pick<StoredWindow, 'mode'>): Mode => MODES.find(known => known === mode) ?? 'full'

const orNull = (rule: Rule): Rule => either(rule, literal(null))
const string: Rule = { expected: 'text', test: value => typeof value === 'string' }
const listOf = (max: number): Rule => ({
  expected: `a list of at most ${max} entries`,
  test: value => Array.isArray(value) && value.length <= max
})
const routes = listOf(ROUTES_MAX)
const message: Rule = {
  expected: 'text, or texts by language',
  test: value => typeof value === 'string' || (isObject(value) && Object.values(value).every(string.test))
}

const RECORD: { readonly [name: string]: Rule } = {
  v: literal(2),
  revision: integer(0, Number.MAX_SAFE_INTEGER),
  openedAt: orNull(storedTime),
  closedSince: orNull(storedTime),
  windows: listOf(WINDOWS_MAX),
  by: orNull(string),
  at: storedTime
}

const WINDOW: { readonly [name: string]: Rule } = {
  id: string,
  kind: string,
  startsAt: orNull(storedTime),
  endsAt: orNull(storedTime),
  mode: string,
  message: orNull(message),
  retryAfter: orNull({ expected: 'a number', test: Number.isFinite }),
  ignoreRoutes: routes,
  ignoreIps: routes,
  onlyRoutes: routes,
  bypass: orNull(string),
  lease: orNull(storedTime),
  by: orNull(string),
  at: storedTime
}

/** What a window has unless it says otherwise; windows of other versions may leave it out. */
export const WINDOW_DEFAULTS = {
  startsAt: null,
  endsAt: null,
  message: null,
  retryAfter: null,
  ignoreRoutes: [],
  ignoreIps: [],
  onlyRoutes: [],
  bypass: null,
  lease: null,
  by: null
}

/**
 * Reads a stored record. Keys, modes and kinds that this version does not know are kept; only another `v`, a wrong type
 * or a time that cannot be parsed makes a record unreadable.
 * @param now by the clock of the store, ms
 * @throws FST_ERR_MAINTENANCE_UNREADABLE with the reason
 */
export const parseRecord = (stored: string, now = Date.now()): StateRecord => checkTimes(parseText(stored), now)

/**
 * The same for a caller that polls: text that was read last time is not parsed again, whether it is a record or
 * garbage.
 */
export function createRecordParser (): typeof parseRecord {
  let last: { text: string, parsed: () => StateRecord } | null = null
  return function parse (stored, now = Date.now()) {
    if (last?.text !== stored) last = { text: stored, parsed: settle(stored) }
    return checkTimes(last.parsed(), now)
  }
}

function settle (stored: string): () => StateRecord {
  try {
    const record = parseText(stored)
    return () => record
  } catch (error) {
    return () => { throw error }
  }
}

function parseText (stored: string): StateRecord {
  const record = { openedAt: null, closedSince: null, by: null, ...parseObject(stored) }
  check(RECORD, record, '')
  const windows = (record as unknown as StateRecord).windows.map((window, i) => parseWindow(window, `windows[${i}]`))
  return { ...record as unknown as StateRecord, ...inUtc(record, ['openedAt', 'closedSince', 'at']), windows }
}

function parseObject (stored: string): Record<string, unknown> {
  const { length } = stored
  if (length > RECORD_MAX) {
    throw new UnreadableError(`the state record has ${length} characters, at most ${RECORD_MAX} are read`)
  }
  if (length > FOREIGN_MAX && !stored.startsWith(OWN_BEGIN)) {
    throw new UnreadableError(`the state record has ${length} characters and was not written by this plugin`)
  }
  if (stored.trim() === '') throw new UnreadableError('the state record is empty')
  const value = parseJson(stored)
  if (!isObject(value)) throw new UnreadableError(`the state record is ${show(value)}, expected an object`)
  return value
}

function parseJson (stored: string): unknown {
  try {
    return JSON.parse(stored)
  } catch (error) {
    throw new UnreadableError(`the state record is not JSON: ${messageOf(error)}`)
  }
}

/** Times far ahead of the clock would lock out every later writer, or outlast every later change. */
function checkTimes (record: StateRecord, now: number): StateRecord {
  if (!isRevision(record.revision, now)) throw farAhead('revision', record.revision)
  for (const name of ['at', 'openedAt'] as const) {
    const time = record[name]
    if (time !== null && isFarAhead(Date.parse(time), now)) throw farAhead(name, time)
  }
  return record
}

const farAhead = (name: string, value: unknown): Error =>
  new UnreadableError(`${name} is ${show(value)}, more than a day ahead of the clock`)

function parseWindow (value: unknown, path: string): StoredWindow {
  if (!isObject(value)) throw new UnreadableError(`${path} is ${show(value)}, expected an object`)
  const window: Record<string, unknown> = { ...WINDOW_DEFAULTS, ...value }
  check(WINDOW, window, `${path}.`)
  const { ignoreRoutes, ignoreIps, onlyRoutes } = window as {
    ignoreRoutes: unknown[]
    ignoreIps: unknown[]
    onlyRoutes: unknown[]
  }
  return {
    ...window as unknown as StoredWindow,
    ...inUtc(window, ['startsAt', 'endsAt', 'lease', 'at']),
    ignoreRoutes: ignoreRoutes.filter(isRoute).map(route => ({ ...route, description: route.description ?? null })),
    ignoreIps: ignoreIps.filter(isString),
    // nobody knows what else an entry would close
    onlyRoutes: onlyRoutes.every(isString) ? onlyRoutes : []
  }
}

const isString = (value: unknown): value is string => string.test(value)
const isRoute = (value: unknown): value is IgnoredRoute => isObject(value) && isString(value.pattern)

/** Other versions may write times of other zones. */
const inUtc = (value: Record<string, unknown>, names: readonly string[]): Record<string, string | null> =>
  Object.fromEntries(names.map(name => [name, toTime(value[name])]))

function check (rules: { readonly [name: string]: Rule }, value: Record<string, unknown>, path: string): void {
  for (const [name, rule] of Object.entries(rules)) {
    if (!rule.test(value[name])) {
      throw new UnreadableError(`${path}${name} is ${show(value[name])}, expected ${rule.expected}`)
    }
  }
}

/** `v` comes first: see `OWN_BEGIN`. */
export const serialiseRecord = (record: StateRecord): string => JSON.stringify(Object.assign({ v: record.v }, record))
