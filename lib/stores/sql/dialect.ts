import { createHash } from 'node:crypto'
import type { SqlDialect } from '../../../types/index.ts'

/** How many changes of a site are kept. */
const HISTORY_MAX = 100

interface Dialect {
  /** The type of the name of a site or server: compared byte by byte, whatever the collation of the database is. */
  readonly name: string
  readonly text: string
  readonly id: string
  /** Behind the columns of a table. */
  readonly suffix: string
  readonly quote: string
  /** The clock of the database, ms since 1970. */
  readonly now: string
}

const DIALECTS: { readonly [name in SqlDialect]: Dialect } = {
  postgres: {
    name: 'varchar(64) COLLATE "C"',
    text: 'text',
    id: 'bigserial PRIMARY KEY',
    suffix: '',
    quote: '"',
    now: 'CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)'
  },
  mysql: {
    name: 'varchar(64) CHARACTER SET ascii COLLATE ascii_bin',
    text: 'mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
    id: 'bigint AUTO_INCREMENT PRIMARY KEY',
    suffix: ' ENGINE = InnoDB',
    quote: '`',
    now: "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)"
  },
  sqlite: {
    name: 'text COLLATE BINARY',
    text: 'text',
    id: 'integer PRIMARY KEY AUTOINCREMENT',
    suffix: '',
    quote: '"',
    now: "CAST((julianday('now') - 2440587.5) * 86400000 AS integer)"
  }
}

/** Every statement of the store, with `?` for its values. */
export interface Statements {
  readonly create: readonly string[]
  /** Finds out if the tables exist. */
  readonly check: string
  /** Reads this number of sites at once. There is always a row, which has the time. */
  readonly read: (sites: number) => string
  readonly readAll: string
  /** Makes room for a site: its revision is 0. */
  readonly seed: string
  /** Compares and writes. */
  readonly replace: string
  /** Writes whatever is stored. */
  readonly write: string
  readonly remember: string
  readonly forget: string
  readonly history: string
  readonly heartbeat: string
  readonly leave: string
  readonly prune: string
  readonly servers: string
  readonly listen: string
}

/** @param table a name that `isTable` has let through */
export function statementsOf (dialect: SqlDialect, table: string): Statements {
  const { now, quote } = DIALECTS[dialect]
  const quoted = (suffix: string) =>
    table
      .split('.')
      .map((part, i, { length }) => `${quote}${part}${i === length - 1 ? suffix : ''}${quote}`)
      .join('.')
  const [states, history, servers] = [quoted(''), quoted('_history'), quoted('_servers')]
  const upsert = upsertOf(dialect)
  const notifying = (statement: string): string =>
    `WITH written AS (${statement} RETURNING site) SELECT CAST(pg_notify('${channelOf(table)}', site) AS text) FROM written`
  const told = dialect === 'postgres' ? notifying : (statement: string) => statement
  const counted = dialect === 'sqlite' ? (statement: string) => `${statement} RETURNING site` : told
  return {
    create: createOf(dialect, states, history, servers),
    check: `SELECT (SELECT count(*) FROM ${states} WHERE 1 = 0), (SELECT count(*) FROM ${history} WHERE 1 = 0), (SELECT count(*) FROM ${servers} WHERE 1 = 0)`,
    read: sites =>
      `SELECT ${now} AS now, site, record FROM (SELECT 1 AS one) AS one LEFT JOIN ${states} ON revision > 0 AND site IN (${Array(sites).fill('?').join(', ')})`,
    readAll: `SELECT site, record FROM ${states} WHERE revision > 0`,
    seed: `INSERT ${dialect === 'mysql' ? 'IGNORE ' : ''}INTO ${states} (site, record, revision) VALUES (?, '', 0)${dialect === 'mysql' ? '' : ' ON CONFLICT DO NOTHING'}`,
    replace: counted(`UPDATE ${states} SET record = ?, revision = ? WHERE site = ? AND revision = ?`),
    write: told(upsert(`${states} (site, record, revision) VALUES (?, ?, ?)`, 'site', ['record', 'revision'])),
    remember: `INSERT INTO ${history} (site, entry) VALUES (?, ?)`,
    forget: `DELETE FROM ${history} WHERE site = ? AND id < (SELECT min(id) FROM (SELECT id FROM ${history} WHERE site = ? ORDER BY id DESC LIMIT ${HISTORY_MAX}) AS newest)`,
    history: `SELECT entry FROM ${history} WHERE site = ? ORDER BY id DESC LIMIT ${HISTORY_MAX}`,
    heartbeat: upsert(`${servers} (id, entry, expires) VALUES (?, ?, ${now} + ?)`, 'id', ['entry', 'expires']),
    leave: `DELETE FROM ${servers} WHERE id = ?`,
    prune: `DELETE FROM ${servers} WHERE expires <= ${now}`,
    servers: `SELECT entry FROM ${servers} WHERE expires > ${now}`,
    listen: `LISTEN "${channelOf(table)}"`
  }
}

/** The channel of PostgreSQL on which writes are announced: its name has 63 bytes at most. */
const channelOf = (table: string): string =>
  table.length <= 63 ? table : `maintenance_${createHash('sha256').update(table).digest('hex').slice(0, 32)}`

const upsertOf =
  (dialect: SqlDialect) =>
    (insert: string, key: string, columns: readonly string[]): string =>
      dialect === 'mysql'
        ? `REPLACE INTO ${insert}`
        : `INSERT INTO ${insert} ON CONFLICT (${key}) DO UPDATE SET ${columns.map(column => `${column} = excluded.${column}`).join(', ')}`

function createOf (dialect: SqlDialect, states: string, history: string, servers: string): string[] {
  const { name, text, id, suffix } = DIALECTS[dialect]
  const index = dialect === 'mysql' ? ', INDEX (site)' : ''
  return [
    `CREATE TABLE IF NOT EXISTS ${states} (
  site ${name} NOT NULL PRIMARY KEY,
  record ${text} NOT NULL,
  revision bigint NOT NULL
)${suffix}`,
    `CREATE TABLE IF NOT EXISTS ${history} (
  id ${id},
  site ${name} NOT NULL,
  entry ${text} NOT NULL${index}
)${suffix}`,
    `CREATE TABLE IF NOT EXISTS ${servers} (
  id ${name} NOT NULL PRIMARY KEY,
  entry ${text} NOT NULL,
  expires bigint NOT NULL
)${suffix}`
  ]
}

/** PostgreSQL numbers its placeholders. */
export function withNumbers (statement: string): string {
  let count = 0
  return statement.replaceAll('?', () => `$${++count}`)
}

export const DEFAULT_TABLE = 'maintenance'

export const TABLE_EXPECTED =
  'the name of a table: at most 48 letters, digits and _, if need be with a schema and a dot before it'

/** It becomes part of statements, and of the names of three tables. */
export const isTable = (value: unknown): value is string =>
  typeof value === 'string' && /^([A-Za-z_]\w{0,62}\.)?[A-Za-z_]\w{0,47}$/.test(value)

/** What creates the tables, for those who do it by hand. */
export const toScript = (dialect: SqlDialect, table: string): string =>
  statementsOf(dialect, table)
    .create.map(statement => `${statement};\n`)
    .join('\n')

export const isDialect = (name: string): name is SqlDialect => Object.hasOwn(DIALECTS, name)
