import { codeOf, isStoreError, messageOf, OutcomeUnknownError, UnknownOutcomeError } from '../../errors.ts'
import { isObject } from '../../util/validate.ts'

/** A statement without an answer by then has failed, ms. */
export const QUERY_TIMEOUT = 1000

/** There was no answer in time. */
export class NoAnswerError extends Error {
  constructor () {
    super(`the database did not answer within ${QUERY_TIMEOUT} ms`)
  }
}

/** There was no connection to send a statement on. */
export class NoConnectionError extends Error {}

/** Layers above a driver wrap its errors: Drizzle as `cause`, Prisma as `meta`. */
function * chainOf (error: unknown): Generator<Record<string, unknown>> {
  for (let link = error, depth = 0; isObject(link) && depth < 5; link = link.cause ?? link.meta, depth++) yield link
}

const codesOf = (error: unknown): string[] =>
  [...chainOf(error)].flatMap(({ code, errno }) => [code, errno]).map(String)

const NO_TABLE = ['42P01', '3F000', '1146', 'ER_NO_SUCH_TABLE']

/** Does a table not exist? */
export const isNoTable = (error: unknown): boolean =>
  codesOf(error).some(code => NO_TABLE.includes(code)) ||
  [...chainOf(error)].some(({ message }) => /\bno such table\b/.test(String(message)))

const DENIED = ['42501', '1142', 'ER_TABLEACCESS_DENIED_ERROR']

/** Is this user not allowed to do that? MySQL says so of tables that do not exist, too. */
export const isDenied = (error: unknown): boolean => codesOf(error).some(code => DENIED.includes(code))

const UNSENT = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']

const isUnsent = (error: unknown): boolean =>
  error instanceof NoConnectionError || codesOf(error).some(code => UNSENT.includes(code))

const READ_ONLY = ['25006', '1290', 'ER_OPTION_PREVENTS_STATEMENT', '1792']

/** Does this connection only read, such as one to a primary that has become a replica? */
export const isReadOnly = (error: unknown): boolean => codesOf(error).some(code => READ_ONLY.includes(code))

/** Did the database itself refuse the statement? Not if it was shut down meanwhile, or its own connection broke. */
function isRefusal (error: unknown): boolean {
  for (const { code, severity, sqlState, errno } of chainOf(error)) {
    const state = String(sqlState ?? code)
    if (/^(08|57P|40003)/.test(state) || errno === 1053) return false
    if (
      severity !== undefined ||
      sqlState !== undefined ||
      /^(?!P[12])(?=.*\d)[0-9A-Z]{5}$|^(ERR_)?SQLITE_/.test(state)
    ) { return true }
  }
  return false
}

/** The error of a write: refused and unsent statements have written nothing; after anything else, it is not known. */
export function outcome (error: unknown): Error {
  if (isStoreError(error)) return error
  if (error instanceof NoAnswerError) return new OutcomeUnknownError(QUERY_TIMEOUT)
  return isRefusal(error) || isUnsent(error)
    ? clean(error)
    : new UnknownOutcomeError(messageOf(error), { cause: clean(error) })
}

/** Without what a driver may have attached: the statement, its values, the options of the connection. */
export function clean (error: unknown): Error {
  if (isStoreError(error)) return error
  const code = codeOf(error)
  return Object.assign(new Error(messageOf(error)), typeof code === 'string' ? { code } : {})
}
