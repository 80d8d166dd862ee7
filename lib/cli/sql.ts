import { DEFAULT_TABLE, isDialect, isTable, TABLE_EXPECTED, toScript } from '../stores/sql/dialect.ts'
import { UsageError } from './output.ts'
import { findStore } from './store-address.ts'
import { showWord } from './tokens.ts'

const EXPECTED = "'sql' needs a database: sql postgres, sql mysql or sql sqlite"

/**
 * @returns the SQL that creates the tables, for the database that is named, or that of the store.
 * @throws UsageError
 */
export function sqlFor (
  name: string | undefined,
  store: string | undefined,
  table: string = DEFAULT_TABLE,
  env: NodeJS.ProcessEnv
): string {
  const dialect = name ?? schemeOf(store, env)
  if (!isDialect(dialect)) throw new UsageError(name === undefined ? EXPECTED : `${EXPECTED}, not ${showWord(name)}`)
  if (!isTable(table)) throw new UsageError(`--prefix ${showWord(table)}: expected ${TABLE_EXPECTED}`)
  return toScript(dialect, table)
}

function schemeOf (option: string | undefined, env: NodeJS.ProcessEnv): string {
  const store = findStore(option, undefined, env)
  const [scheme = ''] = 'sql' in store ? store.sql.client.split(':') : []
  return scheme.replace('postgresql', 'postgres').replace('mariadb', 'mysql')
}
