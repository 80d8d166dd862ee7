import Sqlite from 'better-sqlite3'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openStore } from '../lib/stores/open.ts'
import { createSqlStore, createTables, tablesSql } from '../lib/stores/sql/index.ts'
import { countOf, rowsOf } from '../lib/stores/sql/database.ts'
import { openDatabase } from '../lib/stores/sql/clients.ts'
import { openAddress } from '../lib/stores/sql/drivers.ts'
import { createStore } from '../lib/stores/sql/sql-store.ts'
import { optionalRequire } from '../lib/util/optional-require.ts'
import { readStore } from '../lib/stores/options.ts'
import { conflict, outcomeUnknown } from '../index.ts'
import type { SqlDialect } from '../types/index.ts'
import { createApp, until } from './fixtures/app.ts'
import { CONFLICT, openSql, runCommand, temporaryDirectory, UNKNOWN } from './fixtures/sql.ts'

t.test('missing and invalid options', async t => {
  const client = { execute () {} }
  const loop: { pool?: object } = {}
  const wrong: [unknown, RegExp][] = [
    [{}, /'store.sql' is neither a client nor a query, expected an address such as/],
    [undefined, /'store.sql' is undefined|object/],
    [{ client, query () {} }, /both a client and a query/],
    [{ client: Promise.resolve() }, /'store.sql.client' is a Promise, expected what it resolves to: await it/],
    [{ client: 'postgres://ops:S3cret@w@host/db?x=@' }, /'store.sql.client' is a malformed address of a database/],
    ['sqlite::memory:', /'store.sql.client' is a database in memory/],
    [{ client: 5 }, /'store.sql.client' is a number, expected/],
    [
      { client: { password: 'S3cret' } },
      /'store.sql.client' is an unknown client, expected .*for anything else \{ query, dialect \}/
    ],
    [{ client: () => {} }, /an unknown client/],
    [{ client: Object.assign(loop, { pool: loop }) }, /an unknown client/],
    [{ client: Object.assign(() => {}, { raw () {} }) }, /an unknown client/],
    [{ query () {} }, /'store.sql.dialect' is undefined, expected 'postgres', 'mysql' or 'sqlite'/],
    [{ query () {}, dialect: 'oracle' }, /'store.sql.dialect' is 'oracle'/],
    [{ client, table: 'a b' }, /'store.sql.table' is 'a b', expected the name of a table/],
    [{ client, tabel: 'a' }, /unknown option 'store.sql.tabel'. Did you mean store.sql.table\?/]
  ]
  for (const [sql, message] of wrong) {
    const error: Error = await Promise.resolve().then(() => openSqlOption(sql)).then(
      () => t.fail(String(message)) as never,
      error => error
    )
    t.match(error.message, message)
    t.equal((error as NodeJS.ErrnoException).code, 'FST_ERR_MAINTENANCE_OPTION')
    t.notMatch(error.message, /S3cret/)
  }
  for (const store of [
    'sqlite::memory:', 'sqlite://app.db', 'sqlite:', 'postgres://ops:S3cret%@host', 'sqlite:file:x?mode=memory'
  ]) {
    t.throws(() => readStore(store), { code: 'FST_ERR_MAINTENANCE_OPTION', message: /^(?!.*S3cret)/ }, store)
  }
  t.same(readStore('sqlite:///srv/app.db'), { sql: { client: 'sqlite:///srv/app.db' } })
})

const openSqlOption = async (sql: unknown) => openStore(readStore({ sql } as never), [])

t.test("Node.js's SQLite, with and without it", async t => {
  t.equal(optionalRequire('node:sqlite') === null, Number(process.versions.node.split('.')[0]) < 22)
})

t.test('without a driver: the error names it, and how to install it', async t => {
  const missing = {
    postgres: /the package pg beside it \(npm install pg\)/,
    mariadb: /npm install mysql2/,
    sqlite: /npm install better-sqlite3\), or Node.js 22/
  }
  for (const [scheme, message] of Object.entries(missing)) {
    t.throws(() => openAddress(`${scheme}://host/x`, () => null), { code: 'FST_ERR_MAINTENANCE_OPTION', message })
  }
})

t.test("Node.js's SQLite: the same store", async t => {
  /** Returns rows for every statement, and has no `reader`. */
  class DatabaseSync {
    readonly database: Sqlite.Database
    constructor (path: string) { this.database = new Sqlite(path, { timeout: 0 }) }
    prepare (text: string) {
      const statement = this.database.prepare(text)
      return {
        all: (...values: unknown[]) => statement.reader ? statement.all(...values) : [statement.run(...values)].slice(1)
      }
    }

    exec () {}
    close () { this.database.close() }
  }
  const file = join(temporaryDirectory(t), 'node.db')
  const store = createStore(openAddress(`sqlite:${file}`, name => name === 'node:sqlite' ? { DatabaseSync } : null), {
    table: 'maintenance', createTables: true
  })
  await store.write('a', 'first', { revision: 1, expectedRevision: 0 })
  await t.rejects(store.write('a', 'second', { revision: 2, expectedRevision: 7 }), CONFLICT)
  t.equal(await store.read('a'), 'first')
  await store.close()
})

t.test('a knex client, and results and errors of other libraries', async t => {
  const file = join(temporaryDirectory(t), 'knex.db')
  const database = new Sqlite(file)
  t.teardown(() => database.close())
  const knex = Object.assign(() => {}, {
    client: { dialect: 'better-sqlite3' },
    raw: async (text: string, values: unknown[]) =>
      database.prepare(text).reader ? database.prepare(text).all(...values) : database.prepare(text).run(...values)
  })
  const store = await openSql(t, { client: knex, createTables: true })
  await store.write('a', 'first', { revision: 1, expectedRevision: 0 })
  t.equal(await store.read('a'), 'first')

  t.equal(countOf(2n, 'mysql'), 2)
  t.equal(countOf({ rowCount: 0 }, 'postgres'), 0)
  t.equal(countOf([], 'mysql'), null)
  t.strictSame(rowsOf({ affectedRows: 1 }), [])
  t.strictSame(rowsOf(null), [])
  t.strictSame(rowsOf([[{ a: 1 }], ['fields']]), [{ a: 1 }], 'from mysql2')
  for (const location of [undefined, () => null]) {
    const handle = { prepare: () => ({ all: () => [{ a: 1 }] }), exec () {}, close () {}, location }
    t.strictSame(rowsOf(
      await openDatabase({ client: handle }).query('SELECT 1', [])
    ), [{ a: 1 }], 'an in-memory database')
  }

  const failing = (error: unknown, dialect: SqlDialect = 'postgres') =>
    createSqlStore({ dialect, query: () => { throw error } })
  const write = (error: unknown, dialect?: SqlDialect) => failing(error, dialect).write('a', 'b', { revision: 1 })
  await t.rejects(
    write({ code: 'P2010', meta: { code: '42P01' } }),
    { code: 'FST_ERR_MAINTENANCE_STORE', message: /CREATE TABLE/ },
    'Prisma'
  )
  await t.rejects(write(
    new Error('Failed query', { cause: Object.assign(new Error('x'), { code: '42P01' }) })
  ), /CREATE TABLE/, 'Drizzle')
  await t.rejects(write(Object.assign(new Error('shutting down'), { code: '57P01', severity: 'FATAL' })), UNKNOWN)
  await t.rejects(
    write(Object.assign(new Error('shutting down'), { errno: 1053, sqlState: '08S01' }), 'mysql'),
    UNKNOWN
  )
  await t.rejects(
    write(Object.assign(new Error('deadlock'), { errno: 1213, sqlState: '40001' }), 'mysql'),
    { code: undefined, message: 'deadlock' }
  )
  await t.rejects(write(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })), { code: 'ECONNREFUSED' })
  await t.rejects(write(Object.assign(new Error('broken'), { code: 'EPIPE' })), UNKNOWN)
  await t.rejects(createSqlStore({
    dialect: 'postgres', query: () => new Promise(() => {})
  }).write('a', 'b', { revision: 1 }), { ...UNKNOWN, message: /within 1000 ms/ })
  await t.rejects(failing(new Error('gone')).read('a'), /gone/)
  failing('').close()
})

t.test('{ sql }: boot fails with the SQL unless the tables exist or can be created', async t => {
  const file = join(temporaryDirectory(t), 'boot.db')
  const client = new Sqlite(file)
  t.teardown(() => client.close())
  await t.rejects(openStore({ sql: { client } }, []), {
    code: 'FST_ERR_MAINTENANCE_OPTION',
    message: /Set createTables: true, or create them yourself. Create them with:\n\nCREATE TABLE/
  })
  await createTables({ client, table: 'ops' })
  t.equal((await openStore({ sql: { client, table: 'ops' } }, [])).pollInterval, 1000)
  t.equal((await openStore(
    { sql: { client, createTables: true }, pollInterval: '2s', mirror: join(temporaryDirectory(t), 'mirror.json') },
    []
  )).pollInterval, 2000)
  const warnings: string[] = []
  await openStore({ sql: { dialect: 'mysql', query: () => { throw new Error('gone') } } }, [], {
    info () {},
    warn: (text: string) => warnings.push(text)
  } as never)
  t.strictSame(warnings, ['maintenance: the database cannot be asked for its tables: gone'])
  let calls = 0
  const missing = () => { throw new Error(calls++ === 0 ? 'gone' : 'no such table: maintenance') }
  const { store: without } = await openStore({ sql: { dialect: 'sqlite', query: missing } }, [], {
    info () {},
    warn: (text: string) => warnings.push(text)
  } as never)
  t.equal(await without.read('a'), null)
  t.match(warnings.splice(1), [
    'maintenance: the database cannot be asked for its tables: gone',
    'maintenance: the table maintenance does not exist: nothing can be changed'
  ])
  const poor = (text: string) => {
    throw Object.assign(new Error(
      /^CREATE/.test(text) ? 'denied' : 'missing'
    ), { code: /^CREATE/.test(text) ? '42501' : '42P01' })
  }
  await openStore({ sql: { dialect: 'postgres', query: poor, createTables: true } }, [], {
    info () {},
    warn: (text: string) => warnings.push(text)
  } as never)
  t.match(warnings[1], /the tables of 'maintenance' are needed, and denied. Create them with:/)
  t.equal(createSqlStore({ client: `sqlite:${file}` }).now instanceof Function, true)
  t.match(tablesSql('mysql'), /`maintenance_history`/)
  t.match(tablesSql('postgres', 'ops.state'), /"ops"."state_servers"/)
})

t.test('mirror and interval for every store; errors of a custom store', async t => {
  const directory = temporaryDirectory(t)
  const custom = createSqlStore({ client: `sqlite:${join(directory, 'own.db')}` })
  const mirror = join(directory, 'mirror.json')
  const { app } = await createApp(t, { store: { custom, mirror, pollInterval: 100 } })
  await app.ready()
  await app.maintenance.set(true)
  t.equal(app.maintenance.status().store.kind, 'custom')
  await until('the mirror has it', () => statSync(mirror, { throwIfNoEntry: false }) !== undefined)
  t.equal((await openStore({ file: join(directory, 'x.json'), mirror, pollInterval: '3s' }, [])).pollInterval, 3000)
  t.throws(
    () => readStore({ custom: { read () {} } } as never),
    /'store.custom' is an object, expected an object with the functions/
  )
  t.throws(() => readStore({ custom: undefined } as never), /'store' is an object with custom/)
  t.match(conflict(3, 2), { ...CONFLICT, message: /stored revision is 3, expected 2/ })
  t.match(conflict(), CONFLICT)
  t.match(outcomeUnknown(new Error('cut')), { ...UNKNOWN, message: /cut; the change may or may not/ })
})

t.test("the command prints the SQL for the named database, or the store's", async t => {
  t.match(await runCommand('', 'sql', 'postgres'), {
    code: 0, out: /CREATE TABLE IF NOT EXISTS "maintenance" \([^]*bigserial[^]*"maintenance_servers"/
  })
  t.match(await runCommand('mariadb://host/app', 'sql', '--prefix', 'ops'), { code: 0, out: /`ops_history`/ })
  t.match(await runCommand('postgresql://host/app', 'sql'), { code: 0, out: /bigserial/ })
  t.match(await runCommand('sqlite:./app.db', 'sql'), { code: 0, out: /AUTOINCREMENT/ })
  t.match(await runCommand('redis://host', 'sql'), {
    code: 2, err: /'sql' needs a database: sql postgres, sql mysql or sql sqlite/
  })
  t.match(await runCommand('', 'sql', 'oracle'), { code: 2, err: /not 'oracle'/ })
  t.match(await runCommand('', 'sql', 'mysql', 'sqlite'), { code: 2, err: /takes one database/ })
  t.match(await runCommand('', 'sql', 'mysql', '--json'), { code: 2, err: /'sql' has no option --json/ })
  t.match(await runCommand('', 'sql', 'mysql', '--prefix', 'a-b'), {
    code: 2, err: /--prefix 'a-b': expected the name of a table/
  })
  t.match(await runCommand('sqlite:./app.db', 'status', '--prefix', 'a-b'), { code: 2, err: /expected the name of a table/ })
  t.match(await runCommand('postgres://ops:S3cret@127.0.0.1:1/app', 'status'), {
    code: 1, err: /^(?!.*S3cret).*no connection/
  })
})
