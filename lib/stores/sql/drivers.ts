import { OptionError } from '../../errors.ts'
import { optionalRequire } from '../../util/optional-require.ts'
import type { Database } from './database.ts'
import { CONNECT_TIMEOUT, createLink, type Connect } from './link.ts'
import { listen } from './listen.ts'
import { openSqlite, type Sqlite } from './sqlite.ts'

/** What is used of a client of `pg`. */
export interface PgClient {
  connect (): Promise<unknown>
  query (text: string, values: readonly unknown[]): Promise<unknown>
  end (): Promise<void>
  on (event: 'error' | 'end', listener: () => void): this
  on (event: 'notification', listener: (notification: { payload?: string }) => void): this
  readonly connection: { readonly stream: { destroy (): void } }
}

/** What is used of a connection of `mysql2`. */
interface MysqlConnection {
  on(event: 'error' | 'end', listener: () => void): this
  connect(done: (error: Error | null) => void): void
  execute(
    text: string,
    values: readonly unknown[],
    done: (error: (Error & { fatal?: boolean }) | null, result: unknown) => void
  ): void
  destroy(): void
}

/** A connection that is given up may say goodbye for that long, ms. */
const GOODBYE_TIMEOUT = 100

type Load = typeof optionalRequire

/**
 * Opens the database at an address, with the driver of the application.
 * @throws FST_ERR_MAINTENANCE_OPTION if there is none
 */
export function openAddress (address: string, load: Load = optionalRequire): Database {
  const rest = address.slice(address.indexOf(':') + 1)
  if (address.startsWith('sqlite:')) return openSqlite(loadSqlite(load), rest)
  if (/^(mysql|mariadb):/.test(address)) return openMysql({ uri: `mysql:${rest}` }, load)
  const { Client } = (load('pg') ?? missing('PostgreSQL', installing('pg'))) as {
    Client: new (options: object) => PgClient
  }
  return openPg(
    () => new Client({ connectionString: address, connectionTimeoutMillis: CONNECT_TIMEOUT, keepAlive: true })
  )
}

function loadSqlite (load: Load): Sqlite {
  const found = load('better-sqlite3')
  if (found !== null) return found as Sqlite
  const builtin = load('node:sqlite') ?? missing('SQLite', `${installing('better-sqlite3')}, or Node.js 22.13 or later`)
  return (builtin as { DatabaseSync: Sqlite }).DatabaseSync
}

const installing = (name: string): string => `the package ${name} beside it (npm install ${name})`

function missing (database: string, expected: string): never {
  throw new OptionError('store', `an address of ${database}`, expected)
}

/** @param createClient makes a client that is not connected */
export function openPg (createClient: () => PgClient): Database {
  const link = createLink(connectPg(createClient))
  let stop = () => {}
  return {
    dialect: 'postgres',
    numbered: true,
    query: link.query,
    listen: (statement, onHint) => new Promise(resolve => {
      stop = listen(connectPg(createClient, onHint), statement, () => {
        onHint()
        resolve()
      })
    }),
    close () {
      stop()
      link.close()
    }
  }
}

const connectPg =
  (createClient: () => PgClient, onHint?: (site?: string) => void): Connect =>
    async onLost => {
      const client = createClient()
      client.on('error', onLost).on('end', onLost)
      if (onHint !== undefined) client.on('notification', ({ payload }) => onHint(payload))
      await client.connect()
      return {
        query: (text, values) => client.query(text, values),
        destroy () {
          client.end().catch(() => {})
          // a server that does not answer holds the connection, and so the process
          setTimeout(() => client.connection.stream.destroy(), GOODBYE_TIMEOUT).unref()
        }
      }
    }

/** @param options of a connection of `mysql2` */
export function openMysql (options: object, load: Load = optionalRequire): Database {
  const driver = load('mysql2') ?? missing('MySQL or MariaDB', installing('mysql2'))
  const { createConnection } = driver as { createConnection: (options: object) => MysqlConnection }
  const connect: Connect = async onLost => {
    const connection = createConnection({ ...options, connectTimeout: CONNECT_TIMEOUT })
    connection.on('error', onLost).on('end', onLost)
    await new Promise<void>((resolve, reject) =>
      connection.connect(error => (error === null ? resolve() : reject(error)))
    )

    /** The statement that is under way has the error of a connection that breaks, and no event. */
    const query = (text: string, values: readonly unknown[]) => new Promise((resolve, reject) => {
      connection.execute(text, values, (error, result) => {
        if (error === null) return resolve(result)
        if (error.fatal === true) onLost()
        reject(error)
      })
    })
    return { query, destroy: () => connection.destroy() }
  }
  return { dialect: 'mysql', numbered: false, ...createLink(connect) }
}
