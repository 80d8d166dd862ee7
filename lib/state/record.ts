import type { IgnoredRoute, Mode, SiteState, Upcoming } from '../../types/index.ts'
import { bool, checkWhole, either, integer, isObject, isWhole, literal, seconds, text, type Rule, type Shape } from '../util/validate.ts'
import { messageOf, show, UnreadableError } from '../errors.ts'
import { isPattern, PATTERN_EXPECTED } from '../match/route.ts'
import { isFarAhead, isRevision } from '../util/revision.ts'
import { utcTime } from './time.ts'

/** A `run` that keeps the site closed. */
export interface Run {
  readonly id: string
  /** The end of its lease; `null`: it has none. */
  readonly until: string | null
}

/** What is stored for a site. Times are ISO strings in UTC. */
export interface StateRecord {
  readonly v: 1
  readonly revision: number
  readonly on: boolean
  readonly mode: Mode
  readonly startsAt: string | null
  readonly endsAt: string | null
  readonly message: string | null
  readonly retryAfter: number | null
  readonly ignoreRoutes: readonly IgnoredRoute[]
  /** One for each window: a record that changes while on stays in its window. */
  readonly windowId: string | null
  /** Room for the keyed hash of the window's bypass secret. */
  readonly bypass: string | null
  readonly by: string | null
  /** The `run`s under way: the last one that ends opens the site. */
  readonly runs: readonly Run[]
  /** When it was written; `null` only in a record that never was. */
  readonly at: string | null
}

/** A site never written is open. */
export const NEVER_WRITTEN: StateRecord = Object.freeze({
  v: 1, revision: 0, on: false, mode: 'full', startsAt: null, endsAt: null, message: null, retryAfter: null, ignoreRoutes: [], windowId: null, bypass: null, by: null, runs: [], at: null
})

/** Characters of a stored record: what is longer is not parsed. */
export const RECORD_MAX = 1024 * 1024
/** What is longer must look as `serialiseRecord` writes it: to parse other things of that size would hold up the process. */
const FOREIGN_MAX = 64 * 1024
const OWN_BEGIN = '{"v":1,'
export const ROUTES_MAX = 10_000
const RUNS_MAX = 1000
export const MESSAGE_MAX = 10_000
export const NAME_MAX = 200

const nothing = literal(null)

export const mode = literal('full', 'read-only', 'hold')

export const storedRoute: Shape = { pattern: { expected: PATTERN_EXPECTED, test: isPattern }, description: either(text(NAME_MAX), nothing) }

const storedRoutes: Rule = {
  expected: `a list of at most ${ROUTES_MAX} { pattern, description }`,
  test: value => Array.isArray(value) && value.length <= ROUTES_MAX && value.every(route => isWhole(storedRoute, route))
}

const storedRun: Shape = { id: text(NAME_MAX), until: either(utcTime, nothing) }

const RECORD: Shape = {
  v: literal(1),
  revision: integer(0, Number.MAX_SAFE_INTEGER),
  on: bool,
  mode,
  startsAt: either(utcTime, nothing),
  endsAt: either(utcTime, nothing),
  message: either(text(MESSAGE_MAX), nothing),
  retryAfter: either(seconds, nothing),
  ignoreRoutes: storedRoutes,
  windowId: either(text(NAME_MAX), nothing),
  bypass: either(text(NAME_MAX), nothing),
  by: either(text(NAME_MAX), nothing),
  runs: {
    expected: `a list of at most ${RUNS_MAX} { id, until }`,
    test: value => Array.isArray(value) && value.length <= RUNS_MAX && value.every(run => isWhole(storedRun, run))
  },
  at: utcTime
}

/**
 * Reads a stored record by a strict schema.
 * @param now by the clock of the store, ms
 * @throws FST_ERR_MAINTENANCE_UNREADABLE with the reason
 */
export const parseRecord = (stored: string, now = Date.now()): StateRecord => checkTimes(parseText(stored), now)

/** The same for a caller that polls: what was read last is not parsed again, be it a record or garbage. */
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
  if (stored.length > RECORD_MAX) throw new UnreadableError(`the state record has ${stored.length} characters, at most ${RECORD_MAX} are read`)
  if (stored.length > FOREIGN_MAX && !stored.startsWith(OWN_BEGIN)) throw new UnreadableError(`the state record has ${stored.length} characters, and was not written by this plugin`)
  if (stored.trim() === '') throw new UnreadableError('the state record is empty')
  const record = parseJson(stored)
  // written before there were runs
  if (isObject(record) && !Object.hasOwn(record, 'runs')) record.runs = []
  checkWhole(RECORD, record, unreadable)
  return record as StateRecord
}

function parseJson (stored: string): unknown {
  try {
    return JSON.parse(stored)
  } catch (error) {
    throw new UnreadableError(`the state record is not JSON: ${messageOf(error)}`)
  }
}

function unreadable (name: string, value: unknown, expected: string): Error {
  return new UnreadableError(`${name || 'the record'} is ${show(value)}, expected ${expected}`)
}

/** Times far ahead of the clock would lock out every later writer, and outlast every later window. */
function checkTimes (record: StateRecord, now: number): StateRecord {
  if (!isRevision(record.revision, now)) throw unreadable('revision', record.revision, 'an integer not more than a day ahead of the clock')
  if (isFarAhead(Date.parse(record.at as string), now)) throw unreadable('at', record.at, 'a time not more than a day ahead of the clock')
  return record
}

export const serialiseRecord = (record: StateRecord): string => JSON.stringify(record)

/** What a record says of its site, for people and programs. */
export function describe (site: string, record: StateRecord, active: boolean, upcoming: Upcoming | null): SiteState {
  const { on, mode, message, startsAt, endsAt, retryAfter, ignoreRoutes, by, at, revision } = record
  return { site, on, active, mode, message, startsAt, endsAt, retryAfter, ignoreRoutes: [...ignoreRoutes], by, since: at, revision, upcoming }
}
