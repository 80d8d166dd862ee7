import { performance } from 'node:perf_hooks'
import type { MaintenanceStore, WriteOptions } from '../../../types/index.ts'
import { ConflictError, messageOf, StoreError, UnknownOutcomeError } from '../../errors.ts'
import type { Log } from '../../util/log.ts'
import { createBatch } from './batch.ts'
import { countOf, rowsOf, type Database, type Row } from './database.ts'
import { statementsOf, toScript, withNumbers } from './dialect.ts'
import { clean, isDenied, isNoTable, outcome } from './errors.ts'

export interface StoreOptions {
  readonly table: string
  /** Are missing tables created by the first write? */
  readonly createTables: boolean
  readonly log?: Log | undefined
}

const COUNTLESS = 'query() has to return how many rows were affected, as a number or as { affectedRows }'

/**
 * Keeps the state in three tables: the records, the history, and the servers. Each write compares and writes in one
 * statement; a notification is part of it.
 */
export function createStore (database: Database, { table, createTables, log }: StoreOptions): MaintenanceStore {
  const { dialect } = database
  const sql = statementsOf(dialect, table)
  const readSite = createBatch(readSites)
  let warned = false
  // by a clock that nobody sets
  let offset: number | undefined

  const now = (): number => Math.floor(offset === undefined ? Date.now() : performance.now() + offset)

  const ask = (statement: string, values: readonly unknown[] = []): Promise<unknown> =>
    database.query(database.numbered ? withNumbers(statement) : statement, values)

  /** For what changes something: missing tables are created before it. */
  async function tell (statement: string, values: readonly unknown[]): Promise<unknown> {
    try {
      return await ask(statement, values)
    } catch (error) {
      if (!isNoTable(error) && !(isDenied(error) && !await hasTables(database, table))) throw error
      if (!createTables) throw new StoreError(howToCreate(database, table, 'they do not exist'))
      await createMissing(database, table)
      return ask(statement, values)
    }
  }

  /** Tables that do not exist hold nothing. */
  async function list (statement: string, values: readonly unknown[] = []): Promise<Row[]> {
    try {
      return rowsOf(await ask(statement, values))
    } catch (error) {
      if (!isNoTable(error)) throw clean(error)
      if (!warned) {
        log?.warn(
          `maintenance: the table ${table} does not exist: ${createTables ? 'the first change creates it' : 'nothing can be changed'}`
        )
      }
      warned = true
      return []
    }
  }

  async function readSites (sites: readonly string[]): Promise<Map<string, string>> {
    const rows = await list(sql.read(sites.length), sites)
    const time = Number(rows[0]?.now)
    if (time > 0) offset = time - performance.now()
    return new Map(
      rows.filter(({ site }) => typeof site === 'string').map(({ site, record }) => [String(site), String(record)])
    )
  }

  async function write (site: string, record: string, { revision, expectedRevision }: WriteOptions): Promise<void> {
    if (expectedRevision === undefined) {
      await tell(sql.write, [site, record, revision]).catch(error => { throw outcome(error) })
      return
    }
    // a revision of 0 stands for nothing
    if (expectedRevision === 0) await tell(sql.seed, [site]).catch(error => { throw clean(error) })
    const result = await tell(sql.replace, [record, revision, site, expectedRevision]).catch(error => {
      throw outcome(error)
    })
    const count = countOf(result, dialect)
    if (count === null) throw new UnknownOutcomeError(COUNTLESS)
    if (count === 0) throw new ConflictError('another one', expectedRevision)
  }

  async function appendHistory (site: string, entry: string): Promise<void> {
    await tell(sql.remember, [site, entry])
    await ask(sql.forget, [site, site])
  }

  async function listHistory (site: string, limit: number): Promise<string[]> {
    return (await list(sql.history, [site])).slice(0, limit).map(({ entry }) => String(entry))
  }

  async function heartbeat (server: string, entry: string, ttl: number): Promise<void> {
    try {
      await (ttl === 0 ? tell(sql.leave, [server]) : tell(sql.heartbeat, [server, entry, ttl]))
      await ask(sql.prune)
    } catch (error) {
      throw clean(error)
    }
  }

  const heartbeats = async (): Promise<string[]> => (await list(sql.servers)).map(({ entry }) => String(entry))

  const readAll = async (): Promise<Map<string, string>> =>
    new Map((await list(sql.readAll)).map(({ site, record }) => [String(site), String(record)]))

  return {
    readAll,
    read: async site => (await readSite(site)) ?? null,
    write,
    appendHistory,
    listHistory,
    heartbeat,
    heartbeats,
    now,
    watch: onHint => database.listen?.(sql.listen, onHint),
    close: () => database.close()
  }
}

/** Creates the tables that do not exist. @throws with the statements, if it may not */
export async function createMissing (database: Database, table: string): Promise<void> {
  try {
    for (const statement of statementsOf(database.dialect, table).create) {
      // where several servers create it at once, all but one may fail
      await database.query(statement, []).catch(() => database.query(statement, []))
    }
  } catch (error) {
    throw new StoreError(howToCreate(database, table, messageOf(error)))
  }
}

const howToCreate = ({ dialect }: Database, table: string, why: string): string =>
  `the tables of '${table}' are needed, and ${why}. Create them with:\n\n${toScript(dialect, table)}`

/** Do the tables exist? @throws if the database does not say so */
export async function hasTables (database: Database, table: string): Promise<boolean> {
  return database.query(statementsOf(database.dialect, table).check, []).then(() => true, error => {
    if (isNoTable(error)) return false
    throw clean(error)
  })
}

/** The error of a boot without tables. */
export const missingTables = (database: Database, table: string): string =>
  howToCreate(database, table, 'they do not exist. Set createTables: true, or create them yourself')
