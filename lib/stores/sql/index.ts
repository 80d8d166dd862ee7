import type { MaintenanceStore, SqlDialect, SqlOptions } from '../../../types/index.ts'
import { openDatabase } from './clients.ts'
import { DEFAULT_TABLE, toScript } from './dialect.ts'
import { checkSql } from './check.ts'
import { createMissing, createStore } from './sql-store.ts'

export type { MaintenanceStore, SqlDialect, SqlOptions } from '../../../types/index.ts'

/**
 * Creates a store in a SQL database, to pass as the option `store`, or to the command from a module.
 * @param options the client or the `query` function, and the table
 * @example
 * ```ts
 * const query = (text, values) => prisma.$queryRawUnsafe(text, ...values)
 * const store = createSqlStore({ dialect: 'postgres', query })
 * ```
 */
export function createSqlStore (options: SqlOptions): MaintenanceStore {
  const { table = DEFAULT_TABLE, client, createTables = typeof client === 'string' } = checkSql(options)
  return createStore(openDatabase(options), { table, createTables })
}

/**
 * Creates the tables that do not exist yet.
 * @param options as those of `createSqlStore`
 */
export async function createTables (options: SqlOptions): Promise<void> {
  const { table = DEFAULT_TABLE } = checkSql(options)
  const database = openDatabase(options)
  try {
    await createMissing(database, table)
  } finally {
    database.close()
  }
}

/**
 * Returns the SQL that creates the tables, for a migration.
 * @param dialect the database
 * @param table the name of the table
 */
export function tablesSql (dialect: SqlDialect, table: string = DEFAULT_TABLE): string {
  // any query would do
  checkSql({ dialect, table, query: toScript })
  return toScript(dialect, table)
}
