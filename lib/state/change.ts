import type { IgnoredRoute, Message } from '../../types/index.ts'
import { makeSecret } from './secret.ts'
import { ChangeError, InvalidChangeError, show } from '../errors.ts'
import { IP_RULE_EXPECTED, isIpRule } from '../match/ip.ts'
import { isPattern, PATTERN_EXPECTED } from '../match/route.ts'
import { suggest } from '../util/did-you-mean.ts'
import {
  bool,
  checkShape,
  either,
  integer,
  isObject,
  literal,
  seconds,
  type Rule,
  type Shape
} from '../util/validate.ts'
import { message, name } from './message.ts'
import { mode, ROUTES_MAX } from './record.ts'
import { pointInTime, toPointInTime, type PointInTime } from './time.ts'

/** A change as checked. An absent key was not given; `null` unsets. Relative times are resolved when it is applied. */
export interface Change {
  readonly message?: Message | null
  readonly mode?: string
  readonly startsAt?: PointInTime | null
  readonly endsAt?: PointInTime | null
  readonly retryAfter?: number | null
  readonly ignoreRoutes?: readonly IgnoredRoute[]
  readonly ignoreIps?: readonly string[]
  readonly onlyRoutes?: readonly string[]
  /** A new bypass secret; `null` removes the one there is. */
  readonly secret?: string | null
  readonly by?: string
  readonly expectedRevision?: number
}

const listOf = (what: string): Rule => ({
  expected: `a list of at most ${ROUTES_MAX} ${what}`,
  test: value => Array.isArray(value) && value.length <= ROUTES_MAX
})

const META: Shape = { by: name, expectedRevision: integer(0, Number.MAX_SAFE_INTEGER) }

const SET: Shape = {
  message,
  mode,
  startsAt: pointInTime,
  endsAt: pointInTime,
  retryAfter: seconds,
  ignoreRoutes: listOf('patterns or { pattern, description }'),
  ignoreIps: listOf('addresses and blocks'),
  onlyRoutes: listOf('patterns'),
  bypass: bool,
  ...META
}

const UPDATE: Shape = {
  ...Object.fromEntries(Object.entries(SET).map(([name, rule]) => [name, either(rule as Rule, literal(null))])),
  ...META
}

/** Checks what `set(true)` and `run` accept. @throws FST_ERR_MAINTENANCE_CHANGE */
export const checkSet = (change: unknown): Change => read(SET, change, 'the change')

/** Checks what `update` accepts: the same, and `null` for what is to be unset. @throws FST_ERR_MAINTENANCE_CHANGE */
export function checkUpdate (change: unknown): Change {
  const checked = read(UPDATE, change, 'the change')
  const { by, expectedRevision, ...rest } = checked
  if (Object.keys(rest).length === 0) throw fail('the change', change, 'at least one of message, mode, endsAt, …')
  return checked
}

/** Checks what `set(false)` accepts. @throws FST_ERR_MAINTENANCE_CHANGE */
export const checkOpening = (options: unknown): Change & { readonly force?: boolean } =>
  readOptions({ ...META, force: bool }, options, 'set(false)')

/** Checks what `cancel` accepts. @throws FST_ERR_MAINTENANCE_CHANGE */
export const checkCancelling = (options: unknown): Change => readOptions(META, options, 'cancel()')

function readOptions<T extends object> (shape: Shape, options: unknown, call: string): T {
  if (!isObject(options)) throw fail('the options', options, 'an object')
  const given = defined(options)
  checkShape(shape, given, (field, value, expected, known) => fail(field, value, `${expected} (with ${call})`, known))
  return given as T
}

function read (shape: Shape, given: unknown, what: string): Change {
  if (!isObject(given)) throw fail(what, given, 'an object')
  checkShape(shape, given, fail)
  const { bypass, mode, startsAt, endsAt, ignoreRoutes, ignoreIps, onlyRoutes, ...rest } = defined(given)
  return defined({
    ...rest,
    mode: mode === null ? 'full' : mode,
    startsAt: time(startsAt),
    endsAt: time(endsAt),
    ignoreRoutes: ignoreRoutes === null ? [] : (ignoreRoutes as unknown[] | undefined)?.map(checkRoute),
    ignoreIps: checkList('ignoreIps', ignoreIps, isIpRule, IP_RULE_EXPECTED),
    onlyRoutes: checkOnlyRoutes(onlyRoutes),
    secret: bypass === undefined ? undefined : bypass === true ? makeSecret() : null
  } as { [name in keyof Change]: unknown }) as Change
}

const time = (value: unknown): PointInTime | null | undefined =>
  value === undefined || value === null ? value : toPointInTime(value)

/**
 * The error carries the name of the field, for forms.
 * @param known given if there is no such field
 */
export function fail (field: string, value: unknown, expected: string, known?: readonly string[]): Error {
  const error = known === undefined
    ? new ChangeError(field, show(value), expected)
    : new InvalidChangeError(`unknown field '${field}'. ${suggest(field, known)}`)
  return Object.assign(error, { field })
}

function checkRoute (route: unknown, i: number): IgnoredRoute {
  const { pattern, description = null } = isObject(route) ? route : { pattern: route }
  if (!isPattern(pattern)) throw fail(`ignoreRoutes[${i}].pattern`, pattern, PATTERN_EXPECTED)
  if (description !== null && !name.test(description)) {
    throw fail(`ignoreRoutes[${i}].description`, description, name.expected)
  }
  const more = isObject(route) ? Object.keys(route).find(key => key !== 'pattern' && key !== 'description') : undefined
  if (more !== undefined) {
    throw fail(`ignoreRoutes[${i}].${more}`, (route as Record<string, unknown>)[more], 'only pattern and description')
  }
  return { pattern, description: description as string | null }
}

function checkList<T> (
  field: string, list: unknown, test: (value: unknown) => value is T, expected: string
): T[] | undefined {
  if (list === null) return []
  return (list as unknown[] | undefined)?.map((value, i) => {
    if (!test(value)) throw fail(`${field}[${i}]`, value, expected)
    return value
  })
}

function checkOnlyRoutes (list: unknown): string[] | undefined {
  const routes = checkList('onlyRoutes', list, isPattern, PATTERN_EXPECTED)
  if (list !== null && routes?.length === 0) {
    throw fail('onlyRoutes', list, 'at least one pattern; leave it out to close the whole site')
  }
  return routes
}

/** A value of `undefined` counts as not given. */
function defined<T extends object> (value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T
}
