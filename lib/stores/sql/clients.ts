import type { SqlDialect, SqlOptions } from '../../../types/index.ts'
import { OptionError } from '../../errors.ts'
import { withTimeout } from '../../util/timeout.ts'
import { isObject } from '../../util/validate.ts'
import type { Database } from './database.ts'
import { CLIENT_EXPECTED } from './check.ts'
import { openAddress, openMysql, openPg, type PgClient } from './drivers.ts'
import { NoAnswerError, QUERY_TIMEOUT } from './errors.ts'
import { CONNECT_TIMEOUT } from './link.ts'
import { openSqlite, run, type Sqlite, type SqliteDatabase } from './sqlite.ts'

type Query = (text: string, values: readonly unknown[]) => unknown

interface PgPool { readonly options: object, readonly Client: new (options: object) => PgClient }
interface MysqlPool { readonly config: { readonly connectionConfig: { readonly [name: string]: unknown } } }
/** The path is `name` in `better-sqlite3`, and `location()` in `node:sqlite`. */
interface SqliteHandle extends SqliteDatabase {
  readonly memory?: boolean
  readonly name?: string
  location?: () => string | null
}
interface Knex { raw: Query, readonly client: { readonly dialect?: unknown } }

/** Opens what `{ sql }` says. @throws FST_ERR_MAINTENANCE_OPTION without a driver, or for a client that is not known */
export function openDatabase (options: SqlOptions): Database {
  const { client, query, dialect } = options
  if (query !== undefined) return { ...bounded(dialect as SqlDialect, query), numbered: dialect === 'postgres' }
  if (typeof client === 'string') return openAddress(client)
  const database = openClient(client)
  if (database === null) throw new OptionError('store.sql.client', 'an unknown client', CLIENT_EXPECTED)
  return database
}

/** A function that is not ours: it may throw at once, hang, or queue behind slow queries. */
function bounded (dialect: SqlDialect, query: Query): Database {
  return {
    dialect,
    numbered: false,
    query: (text, values) =>
      withTimeout(
        Promise.resolve().then(() => query(text, values)),
        QUERY_TIMEOUT,
        () => new NoAnswerError()
      ),
    close () {}
  }
}

/** Of the clients of knex. */
const DIALECTS: { readonly [name: string]: SqlDialect } = {
  postgresql: 'postgres', mysql: 'mysql', mysql2: 'mysql', sqlite3: 'sqlite', 'better-sqlite3': 'sqlite'
}

function openClient (client: unknown): Database | null {
  if (typeof client === 'function') return openKnex(client as unknown as Knex)
  const inner = innermost(client as Record<string, unknown>)
  if (typeof inner.Client === 'function' && isObject(inner.options)) return openPgPool(inner as unknown as PgPool)
  if (isObject(inner.config) && isObject(inner.config.connectionConfig)) {
    return openMysqlPool(inner as unknown as MysqlPool)
  }
  if (typeof inner.prepare === 'function' && typeof inner.exec === 'function') {
    return openHandle(inner as unknown as SqliteHandle)
  }
  return null
}

/**
 * `@fastify/postgres`, `@fastify/mysql` and the pools of `mysql2/promise` keep a pool in a member: two deep at most.
 */
const innermost = (client: Record<string, unknown>, depth = 2): Record<string, unknown> =>
  depth > 0 && isObject(client.pool) ? innermost(client.pool, depth - 1) : client

// With connections of our own, slow queries and transactions of the application keep nobody from closing the site.

function openPgPool ({ options, Client }: PgPool): Database {
  // pg hides the password from copies
  const { password } = options as { password?: unknown }
  return openPg(() => new Client({ ...options, password, connectionTimeoutMillis: CONNECT_TIMEOUT }))
}

const MYSQL_OPTIONS = [
  'host',
  'port',
  'socketPath',
  'user',
  'password',
  'password1',
  'password2',
  'password3',
  'passwordSha1',
  'database',
  'ssl',
  'authPlugins',
  'authSwitchHandler',
  'enableCleartextPlugin',
  'stream',
  'connectAttributes'
]

function openMysqlPool ({ config: { connectionConfig } }: MysqlPool): Database {
  return openMysql(
    Object.fromEntries(
      MYSQL_OPTIONS.map(name => [name, connectionConfig[name]]).filter(([, value]) => value !== undefined)
    )
  )
}

/** A database in memory has one connection only. */
function openHandle (handle: SqliteHandle): Database {
  const path = handle.memory === true ? null : handle.name ?? handle.location?.() ?? null
  if (path !== null) return openSqlite(handle.constructor as Sqlite, path)
  return bounded('sqlite', (text, values) => run(handle, text, values))
}

/** Its placeholders are `?` for every database. */
function openKnex (knex: Knex): Database | null {
  const dialect = typeof knex.raw === 'function' ? DIALECTS[String(knex.client?.dialect)] : undefined
  return dialect === undefined ? null : bounded(dialect, (text, values) => knex.raw(text, values))
}
