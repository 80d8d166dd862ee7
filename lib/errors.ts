import createError from '@fastify/error'
import { cut, hideCredentials, show, showType } from './util/show.ts'

export { show, showType }

/** Boot: an option is wrong. */
export const OptionError = createError(
  'FST_ERR_MAINTENANCE_OPTION',
  "maintenance: option '%s' is %s, expected %s",
  500,
  TypeError
)

/** The same, in words of its own. */
export const InvalidOptionError = createError('FST_ERR_MAINTENANCE_OPTION', 'maintenance: %s', 500, TypeError)

/** Boot: a route's `config.maintenance` is wrong. */
export const RouteError = createError(
  'FST_ERR_MAINTENANCE_ROUTE',
  "maintenance: config.maintenance of route %s %s is %s, expected 'off', 'on', 'read' or 'write'",
  500,
  TypeError
)

/** Boot or `set`: the option `response.template` names what is missing, fails, or takes too long. */
export const TemplateError = createError(
  'FST_ERR_MAINTENANCE_TEMPLATE',
  "maintenance: the template '%s' cannot be rendered: %s",
  500
)

/** Boot or `set`: the function `response.json` makes no body. */
export const JsonError = createError(
  'FST_ERR_MAINTENANCE_TEMPLATE',
  "maintenance: option 'response.json' failed: %s; expected a function that returns an object",
  500
)

/** What `request.maintenance.refuse()` throws. */
export const MaintenanceError = createError('FST_ERR_MAINTENANCE', '%s', 503)

/** A change on a server that is pinned. */
export const PinnedError = createError(
  'FST_ERR_MAINTENANCE_PINNED',
  "maintenance: this server is pinned %s; remove the option 'pinned' to switch at run time",
  409
)

/** An unknown site, or none named where one is needed. */
export const SiteError = createError('FST_ERR_MAINTENANCE_SITE', 'maintenance: site %s, expected %s', 404)

/** `set`: an argument is wrong. */
export const ChangeError = createError(
  'FST_ERR_MAINTENANCE_CHANGE',
  'maintenance: %s is %s, expected %s',
  400,
  TypeError
)

/** The same, in words of its own. */
export const InvalidChangeError = createError('FST_ERR_MAINTENANCE_CHANGE', 'maintenance: %s', 400, TypeError)

/** The store refused or failed: nothing changed. */
export const StoreError = createError(
  'FST_ERR_MAINTENANCE_STORE',
  'maintenance: the store failed, nothing was changed: %s',
  503
)

/** No answer in time: it may or may not have been written. */
export const OutcomeUnknownError = createError(
  'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN',
  'maintenance: the store did not answer within %s ms; the change may or may not have been written',
  503
)

/** The same, in words of its own. */
export const UnknownOutcomeError = createError(
  'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN',
  'maintenance: the store failed: %s; the change may or may not have been written',
  503
)

/** `expectedRevision` no longer holds. */
export const ConflictError = createError(
  'FST_ERR_MAINTENANCE_CONFLICT',
  'maintenance: the stored revision is %s, expected %s',
  409
)

/** `set(false)` while runs keep the site closed; also why the signal of a run aborts. */
export const RunningError = createError('FST_ERR_MAINTENANCE_RUNNING', 'maintenance: %s', 409)

/** The time of a wait is over, or the site was opened while it was waited for; carries `StillRunning`. */
export const DrainError = createError('FST_ERR_MAINTENANCE_DRAIN', 'maintenance: %s', 503)

/**
 * The admin page: `authorize` did not let the request in, a change comes from another origin, or its form has the wrong
 * token.
 */
export const ForbiddenError = createError('FST_ERR_MAINTENANCE_FORBIDDEN', 'maintenance: %s', 403)

/** Something is stored, but it cannot be understood: `source: 'unreadable'`, not an empty store. */
export const UnreadableError = createError('FST_ERR_MAINTENANCE_UNREADABLE', '%s', 500)

/** Is it the error by which a store tells that the compared revision no longer holds? */
export const isConflict = (error: unknown): boolean => codeOf(error) === 'FST_ERR_MAINTENANCE_CONFLICT'

/** Is it the error by which a store tells that a write may or may not have been carried out? */
export const isOutcomeUnknown = (error: unknown): boolean => codeOf(error) === 'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN'

/** Is it the error by which a store tells that something is stored that it cannot read? */
export const isUnreadable = (error: unknown): boolean => codeOf(error) === 'FST_ERR_MAINTENANCE_UNREADABLE'

/** Is it the error by which a store tells that nothing was changed? */
export const isStoreError = (error: unknown): error is Error => codeOf(error) === 'FST_ERR_MAINTENANCE_STORE'

/** The `code` of whatever was thrown. */
export function codeOf (error: unknown): unknown {
  return (error as { code?: unknown } | null | undefined)?.code
}

/** An error of a store may quote what is stored, or the SQL to run. */
const MESSAGE_MAX = 1000

/** The message of whatever was thrown: of bounded length, and without the password of an address. */
export function messageOf (error: unknown): string {
  return error instanceof Error ? cut(withoutPasswords(String(error.message)), MESSAGE_MAX) : show(error)
}

/** `scheme://user:password@host`, the password of which may hold anything. */
const withoutPasswords = (text: string): string => {
  const begin = text.indexOf('://')
  return begin === -1 ? text : text.slice(0, begin + 3) + hideCredentials(text.slice(begin + 3))
}
