import type { IgnoredRoute, Mode, SiteState, Upcoming } from '../../types/index.ts'
import { bool, checkWhole, either, isObject, isWhole, literal, seconds, text, type Rule, type Shape } from '../util/validate.ts'
import { messageOf, show, UnreadableError } from '../errors.ts'
import { isPattern, PATTERN_EXPECTED } from '../match/route.ts'
import { isRevision } from '../util/revision.ts'
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

export const MESSAGE_MAX = 10_000
export const NAME_MAX = 200

const nothing = literal(null)

export const mode = literal('full', 'read-only', 'hold')

export const storedRoute: Shape = { pattern: { expected: PATTERN_EXPECTED, test: isPattern }, description: either(text(NAME_MAX), nothing) }

const storedRoutes: Rule = {
  expected: 'a list of { pattern, description }',
  test: value => Array.isArray(value) && value.every(route => isWhole(storedRoute, route))
}

const storedRun: Shape = { id: text(NAME_MAX), until: either(utcTime, nothing) }

const RECORD: Shape = {
  v: literal(1),
  revision: { expected: 'an integer not more than a day ahead of the clock', test: value => isRevision(value) },
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
  runs: { expected: 'a list of { id, until }', test: value => Array.isArray(value) && value.every(run => isWhole(storedRun, run)) },
  at: utcTime
}

/**
 * Reads a stored record by a strict schema.
 * @throws FST_ERR_MAINTENANCE_UNREADABLE with the reason
 */
export function parseRecord (stored: string): StateRecord {
  if (stored.trim() === '') throw new UnreadableError('the state record is empty')
  let value: unknown
  try {
    value = JSON.parse(stored)
  } catch (error) {
    throw new UnreadableError(`the state record is no JSON: ${messageOf(error)}`)
  }
  // written before there were runs
  const record = isObject(value) ? { runs: [], ...value } : value
  checkWhole(RECORD, record, (name, wrong, expected) => new UnreadableError(`${name || 'the record'} is ${show(wrong)}, expected ${expected}`))
  return record as StateRecord
}

export const serialiseRecord = (record: StateRecord): string => JSON.stringify(record)

/** What a record says of its site, for people and programs. */
export function describe (site: string, record: StateRecord, active: boolean, upcoming: Upcoming | null): SiteState {
  const { on, mode, message, startsAt, endsAt, retryAfter, ignoreRoutes, by, at, revision } = record
  return { site, on, active, mode, message, startsAt, endsAt, retryAfter, ignoreRoutes: [...ignoreRoutes], by, since: at, revision, upcoming }
}
