import type { SqlDialect, SqlOptions } from '../../../types/index.ts'
import { OptionError } from '../../errors.ts'
import { withTimeout } from '../../util/timeout.ts'
import { isObject } from '../../util/validate.ts'
import type { Database } from './database.ts'
import { CLIENT_EXPECTED } from './check.ts'
import { openAddress, openPg, type PgClient } from './drivers.ts'
import { NoAnswerError, QUERY_TIMEOUT } from './errors.ts'
import { CONNECT_TIMEOUT } from './link.ts'
import { run, type SqliteDatabase } from './sqlite.ts'

type Query = (text: string, values: readonly unknown[]) => unknown

interface PgPool { readonly options: object, readonly Client: new (options: object) => PgClient }
interface MysqlPool { execute: Query, promise?: () => { execute: Query } }
interface Knex { raw: Query, readonly client: { readonly dialect?: unknown } }

/** Opens what `{ sql }` says. @throws FST_ERR_MAINTENANCE_OPTION without a driver, or for a client that is not known */
export function openDatabase (options: SqlOptions): Database {
  const { client, query, dialect } = options
  if (query !== undefined) return { ...bounded(dialect as SqlDialect, query), numbered: dialect === 'postgres' }
  if (typeof client === 'string') return openAddress(client)
  const database = openClient(client)
  if (database === null) throw new OptionError('store.sql.client', 'no client that is known', CLIENT_EXPECTED)
  return database
}

/** A function that is not ours: it may throw at once, hang, or queue behind slow queries. */
function bounded (dialect: SqlDialect, query: Query): Database {
  return {
    dialect,
    numbered: false,
    query: (text, values) => withTimeout(Promise.resolve().then(() => query(text, values)), QUERY_TIMEOUT, () => new NoAnswerError()),
    close () {}
  }
}

/** Of the clients of knex. */
const DIALECTS: { readonly [name: string]: SqlDialect } = {
  postgresql: 'postgres', mysql: 'mysql', mysql2: 'mysql', sqlite3: 'sqlite', 'better-sqlite3': 'sqlite'
}

function openClient (client: unknown): Database | null {
  if (typeof client === 'function') return openKnex(client as unknown as Knex)
  // @fastify/postgres and @fastify/mysql keep the pool in a member
  const inner = isObject(client) && isObject(client.pool) ? client.pool : client
  if (!isObject(inner)) return null
  if (typeof inner.Client === 'function' && isObject(inner.options)) return openPool(inner as unknown as PgPool)
  if (typeof inner.execute === 'function') {
    const { promise } = inner as unknown as MysqlPool
    const pool = promise === undefined ? inner as unknown as MysqlPool : promise.call(inner)
    return bounded('mysql', (text, values) => pool.execute(text, values))
  }
  if (typeof inner.prepare === 'function' && typeof inner.exec === 'function') {
    return bounded('sqlite', (text, values) => run(inner as unknown as SqliteDatabase, text, values))
  }
  return null
}

/** With connections of our own: slow queries of the application do not keep anybody from closing the site. */
function openPool ({ options, Client }: PgPool): Database {
  // pg hides the password from copies
  const { password } = options as { password?: unknown }
  return openPg(() => new Client({ ...options, password, connectionTimeoutMillis: CONNECT_TIMEOUT }))
}

/** Its placeholders are `?` for every database. */
function openKnex (knex: Knex): Database | null {
  const dialect = typeof knex.raw === 'function' ? DIALECTS[String(knex.client?.dialect)] : undefined
  return dialect === undefined ? null : bounded(dialect, (text, values) => knex.raw(text, values))
}
