import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from './database.ts'
import { QUERY_TIMEOUT } from './errors.ts'

/** What `better-sqlite3` and `node:sqlite` have in common. */
export interface SqliteDatabase {
  prepare(text: string): {
    readonly reader?: boolean
    all(...values: unknown[]): unknown[]
    run(...values: unknown[]): unknown
  }
  close(): void
}

export type Sqlite = new (path: string, options: object) => SqliteDatabase

/** Between two tries while another process writes, ms. */
const RETRY_AFTER = 10

/** `better-sqlite3` has text, `node:sqlite` the number. */
const isBusy = ({ code, errcode }: { code?: unknown, errcode?: unknown }): boolean =>
  /^SQLITE_(BUSY|LOCKED)/.test(String(code)) || errcode === 5 || errcode === 6

/** A database in a file; reading makes no file. */
export function openSqlite (Sqlite: Sqlite, path: string): Database {
  let database: SqliteDatabase | null = null
  let inode: number | undefined

  function close (): void {
    database?.close()
    database = null
  }

  /** Opens the file; another one if it has been replaced. */
  function open (text: string): SqliteDatabase {
    const found = statSync(path, { throwIfNoEntry: false })?.ino
    if (found === undefined && !text.startsWith('CREATE')) throw new Error(`no such table: there is no file ${path}`)
    if (database !== null && found === inode) return database
    close()
    // waiting is ours: theirs would hold the process
    database = new Sqlite(path, { timeout: 0 })
    inode = statSync(path).ino
    return database
  }

  async function query (text: string, values: readonly unknown[]): Promise<unknown> {
    const deadline = performance.now() + QUERY_TIMEOUT
    for (;;) {
      try {
        return run(open(text), text, values)
      } catch (error) {
        if (!isBusy(error as object) || performance.now() > deadline) throw error
      }
      await sleep(RETRY_AFTER)
    }
  }

  return { dialect: 'sqlite', numbered: false, query, close }
}

/** `better-sqlite3` wants to know which statements return rows; `node:sqlite` does not. */
export function run (database: SqliteDatabase, text: string, values: readonly unknown[]): unknown {
  const statement = database.prepare(text)
  return statement.reader === false ? statement.run(...values) : statement.all(...values)
}
