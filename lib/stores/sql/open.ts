import type { MaintenanceStore, SqlOptions } from '../../../types/index.ts'
import { InvalidOptionError, messageOf } from '../../errors.ts'
import type { Log } from '../../util/log.ts'
import { openDatabase } from './clients.ts'
import { DEFAULT_TABLE } from './dialect.ts'
import { createMissing, createStore, hasTables, missingTables } from './sql-store.ts'

/** How often changes are looked for where nobody announces them, ms. */
const POLL_INTERVAL = 1000
/** The same, where PostgreSQL announces them. */
const BACKSTOP_INTERVAL = 5000

export interface OpenedSql { readonly store: MaintenanceStore, readonly pollInterval: number }

/**
 * Opens the store that `{ sql }` names. A database that cannot be reached is no reason not to boot.
 * @throws FST_ERR_MAINTENANCE_OPTION with the statements, if there are no tables and none may be created
 */
export async function openSql (options: SqlOptions, log?: Log): Promise<OpenedSql> {
  const { table = DEFAULT_TABLE, createTables } = options
  const database = openDatabase(options)
  const byAddress = typeof options.client === 'string'
  log?.info(`maintenance: the store is the table ${table} ${placeOf(options)}`)
  const creates = createTables ?? byAddress
  if (!byAddress) {
    const exist = await hasTables(database, table).catch(error =>
      log?.warn(`maintenance: the database cannot be asked for its tables: ${messageOf(error)}`)
    )
    if (exist === false) {
      if (!creates) {
        database.close()
        throw new InvalidOptionError(`store.sql: ${missingTables(database, table)}`)
      }
      await createMissing(database, table).catch(error => log?.warn(messageOf(error)))
    }
  }
  const store = createStore(database, { table, createTables: creates, log })
  return { store, pollInterval: database.listen === undefined ? POLL_INTERVAL : BACKSTOP_INTERVAL }
}

/** The database, without its password. */
function placeOf ({ client }: SqlOptions): string {
  if (typeof client !== 'string') return "in the application's database"
  if (client.startsWith('sqlite:')) return `in ${client}`
  const { host, pathname } = new URL(client)
  return `at ${host}${pathname}`
}
