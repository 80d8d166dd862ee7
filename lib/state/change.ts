import type { IgnoredRoute, MaintenanceChange } from '../../types/index.ts'
import { hashSecret, makeSecret } from '../bypass/secret.ts'
import { bool, checkShape, checkWhole, integer, isObject, seconds, text, type Rule, type Shape } from '../util/validate.ts'
import { ChangeError, InvalidChangeError, show } from '../errors.ts'
import { suggest } from '../util/did-you-mean.ts'
import { MESSAGE_MAX, mode, NAME_MAX, ROUTES_MAX, storedRoute, type Run, type StateRecord } from './record.ts'
import { isoTime, toTime } from './time.ts'

const CHANGE: Shape = {
  message: text(MESSAGE_MAX),
  mode,
  startsAt: isoTime,
  endsAt: isoTime,
  retryAfter: seconds,
  ignoreRoutes: {
    expected: `a list of at most ${ROUTES_MAX} patterns or { pattern, description }`,
    test: value => Array.isArray(value) && value.length <= ROUTES_MAX
  },
  bypass: bool,
  by: text(NAME_MAX),
  expectedRevision: integer(0, Number.MAX_SAFE_INTEGER)
}

const OPENING: Shape = { by: CHANGE.by as Rule, expectedRevision: CHANGE.expectedRevision as Rule }

/** A change as checked: times in UTC, routes whole. */
export interface CheckedChange extends Partial<Pick<StateRecord, 'message' | 'mode' | 'startsAt' | 'endsAt' | 'retryAfter' | 'by'>> {
  readonly on: boolean
  readonly ignoreRoutes: readonly IgnoredRoute[]
  readonly runs?: readonly Run[]
  /** A new secret; `null`: none any more; absent: that of the window stays. */
  readonly secret?: string | null
  readonly expectedRevision?: number | undefined
}

/**
 * Checks the arguments of `set`.
 * @param now ms
 * @throws FST_ERR_MAINTENANCE_CHANGE
 */
export function checkChange (on: unknown, change: unknown = {}, now = Date.now()): CheckedChange {
  if (typeof on !== 'boolean') throw toError('on', `set(): the first argument must be true or false, got ${show(on)}`)
  if (!isObject(change)) throw fail('the change', change, 'an object')
  if (!on) checkShape(OPENING, change, failOpening)
  checkShape(CHANGE, change, fail)
  const { startsAt, endsAt, ignoreRoutes = [], bypass, ...rest } = change as MaintenanceChange
  const secret = bypass === undefined ? {} : { secret: bypass ? makeSecret() : null }
  const checked = { on, ...rest, ...secret, startsAt: toTime(startsAt), endsAt: toTime(endsAt), ignoreRoutes: ignoreRoutes.map(checkRoute) }
  checkWindow(checked.startsAt, checked.endsAt, now)
  return checked
}

/** The error carries the name of the field, for forms. */
function fail (field: string, value: unknown, expected: string, known?: readonly string[]): Error {
  if (known !== undefined) return toError(field, `unknown field '${field}'. ${suggest(field, known)}`)
  return Object.assign(new ChangeError(field, show(value), expected), { field })
}

function failOpening (field: string, value: unknown, expected: string, known?: readonly string[]): Error {
  if (known !== undefined) return toError(field, `set(false) has no field '${field}'. ${suggest(field, known)}`)
  return fail(field, value, `${expected} (with set(false))`)
}

const toError = (field: string, message: string): Error => Object.assign(new InvalidChangeError(message), { field })

function checkRoute (route: unknown, i: number): IgnoredRoute {
  const whole = isObject(route) && 'pattern' in route ? { ...route, description: route.description ?? null } : { pattern: route, description: null }
  checkWhole(storedRoute, whole, (name, value, expected, known) => fail(`ignoreRoutes[${i}].${name}`, value, expected, known))
  return whole as IgnoredRoute
}

function checkWindow (startsAt: string | null, endsAt: string | null, now: number): void {
  if (endsAt === null) return
  if (Date.parse(endsAt) <= now) throw fail('endsAt', endsAt, `a time in the future (now is ${new Date(now).toISOString()})`)
  if (startsAt !== null && endsAt <= startsAt) throw fail('endsAt', endsAt, `a time after startsAt (${startsAt})`)
}

/**
 * The record that a change makes: whole, whatever stood before.
 * @param bypass of the same window so far
 */
export function makeRecord (change: CheckedChange, revision: number, windowId: string | null, now: number, bypass: string | null = null): StateRecord {
  return {
    v: 1,
    revision,
    on: change.on,
    mode: change.mode ?? 'full',
    startsAt: change.startsAt ?? null,
    endsAt: change.endsAt ?? null,
    message: change.message ?? null,
    retryAfter: change.retryAfter ?? null,
    ignoreRoutes: change.ignoreRoutes,
    windowId,
    bypass: bypassOf(change, windowId, bypass),
    by: change.by ?? null,
    runs: change.runs ?? [],
    at: new Date(now).toISOString()
  }
}

function bypassOf ({ secret }: CheckedChange, windowId: string | null, before: string | null): string | null {
  if (windowId === null || secret === null) return null
  return secret === undefined ? before : hashSecret(windowId, secret)
}

/** The change that makes this record again. */
export function changeOf ({ on, mode, startsAt, endsAt, message, retryAfter, ignoreRoutes, by, runs }: StateRecord): CheckedChange {
  return { on, mode, startsAt, endsAt, message, retryAfter, ignoreRoutes, by, runs }
}
