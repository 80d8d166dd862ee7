import type { SqlDialect } from '../../../types/index.ts'
import { isObject } from '../../util/validate.ts'

/** A database as the store uses it. */
export interface Database {
  readonly dialect: SqlDialect
  /** Are placeholders of PostgreSQL written as `$1`? */
  readonly numbered: boolean
  /** Resolves with whatever the driver returns. */
  query (text: string, values: readonly unknown[]): Promise<unknown>
  /**
   * Calls `onHint` for each notification, and whenever it begins to listen.
   * @returns once it listens: it goes on until `close()`
   */
  listen? (statement: string, onHint: (site?: string) => void): Promise<void>
  close (): void
}

export type Row = Record<string, unknown>

/** The rows of a result of any driver: a list, `{ rows }`, or a list and its fields. */
export function rowsOf (result: unknown): Row[] {
  if (Array.isArray(result)) return (Array.isArray(result[0]) ? result[0] : result) as Row[]
  return isObject(result) && Array.isArray(result.rows) ? result.rows as Row[] : []
}

/** How many rows a statement has written; `null`: this result does not say. */
export function countOf (result: unknown, dialect: SqlDialect): number | null {
  if (typeof result === 'number' || typeof result === 'bigint') return Number(result)
  const header: unknown = Array.isArray(result) ? result[0] : result
  const count = isObject(header) ? header.affectedRows ?? header.rowCount : undefined
  if (typeof count === 'number') return count
  // there, the statement returns what it has written
  return dialect === 'mysql' ? null : rowsOf(result).length
}
