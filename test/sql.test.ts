import Sqlite from 'better-sqlite3'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPool } from 'mysql2/promise'
import { createPool as createCallbackPool } from 'mysql2'
import { Pool } from 'pg'
import t, { type Test } from 'tap'
import { main } from '../lib/cli/main.ts'
import { storeContract } from '../lib/stores/contract.ts'
import { openStore } from '../lib/stores/open.ts'
import { createSqlStore, createTables, tablesSql } from '../lib/stores/sql/index.ts'
import { countOf, rowsOf } from '../lib/stores/sql/database.ts'
import { openDatabase } from '../lib/stores/sql/clients.ts'
import { openAddress } from '../lib/stores/sql/drivers.ts'
import { createStore } from '../lib/stores/sql/sql-store.ts'
import { optionalRequire } from '../lib/util/optional-require.ts'
import { readStore } from '../lib/stores/options.ts'
import maintenance, { conflict, outcomeUnknown } from '../index.ts'
import type { MaintenanceStore, SqlDialect, SqlOptions } from '../types/index.ts'
import { bareApp, createApp, until } from './fixtures/app.ts'
import { blocksIn, runPiece } from './fixtures/docs.ts'
import { noMariadb, startMariadb, type MariadbServer } from './fixtures/mariadb.ts'
import { noPostgres, startPostgres, type PostgresServer } from './fixtures/postgres.ts'
import { startProxy } from './fixtures/redis.ts'

const UNKNOWN = { code: 'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN' }
const CONFLICT = { code: 'FST_ERR_MAINTENANCE_CONFLICT' }
const TABLES = ['maintenance', 'maintenance_history', 'maintenance_servers']

/** A database of each kind, and how the test queries it. */
interface Base {
  readonly address: string
  readonly ask: (text: string) => Promise<Record<string, unknown>[]>
  /** Servers that a test can stop, freeze and start. */
  readonly server?: PostgresServer | MariadbServer
}

const open = async (t: Test, sql: string | SqlOptions): Promise<MaintenanceStore> => {
  const { store } = await openStore({ sql: typeof sql === 'string' ? { client: sql } : sql }, [])
  t.teardown(() => store.close())
  return store
}

async function postgres (t: Test): Promise<Base> {
  const server = await startPostgres(t)
  const pool = new Pool({ connectionString: server.url, max: 3 })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  return { address: server.url, server, ask: async text => (await pool.query(text)).rows }
}

async function mariadb (t: Test): Promise<Base> {
  const server = await startMariadb(t)
  const pool = createPool({ uri: server.url, connectionLimit: 3, multipleStatements: true })
  t.teardown(() => pool.end())
  // names in another collation, and a mode in which a backslash does not escape
  await pool.query(
    "CREATE DATABASE app COLLATE utf8mb4_general_ci; SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'"
  )
  const address = server.url.replace(/mysql$/, 'app').replace('mysql:', 'mariadb:')
  return {
    address,
    server,
    ask: async text => (await pool.query(
      text.replaceAll(/maintenance/g, 'app.maintenance')
    ))[0] as Record<string, unknown>[]
  }
}

async function sqlite (t: Test): Promise<Base> {
  const file = join(temporary(t), 'app.db')
  const ask = async (text: string) => {
    const database = new Sqlite(file)
    try {
      const statement = database.prepare(text)
      return (statement.reader ? statement.all() : [statement.run()]) as Record<string, unknown>[]
    } finally {
      database.close()
    }
  }
  return { address: `sqlite:${file}`, ask }
}

function temporary (t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'maintenance-sql-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const drop = async ({ ask }: Base): Promise<void> => {
  for (const table of TABLES) await ask(`DROP TABLE IF EXISTS ${table}`)
}

/** Retries on new tables, because on a busy machine a connection or statement may time out. */
const patiently = (run: () => Promise<void>, tries = 5): Promise<void> => run().catch(error => {
  if (tries === 1 || !/did not answer within|timeout expired|ETIMEDOUT/.test(error.message)) throw error
  return patiently(run, tries - 1)
})

/** @param part the checks in which drivers differ */
async function contract (
  t: Test,
  base: Base,
  sql: () => SqlOptions,
  part = /as it was written|concurrent writes|expected revision|history|records of all|clock|can be watched/
): Promise<void> {
  for (const { name, run } of storeContract(async () => {
    await drop(base)
    return { connect: async () => (await openStore({ sql: sql() }, [])).store }
  })) if (part.test(name)) await t.test(name, t => t.resolves(patiently(run)))
}

/** Runs the command with a store. */
async function run (store: string, ...args: string[]): Promise<{ code: number, out: string, err: string }> {
  const [out, err]: string[][] = [[], []]
  const output = {
    out: (text: string) => { out!.push(text) },
    err: (text: string) => { err!.push(text) },
    terminal: false,
    color: false,
    signal: new AbortController().signal
  }
  const code = await main(args, { MAINTENANCE_STORE: store }, output as never)
  return { code, out: out!.join(''), err: err!.join('') }
}

/** Tests for every database. */
async function common (t: Test, base: Base): Promise<void> {
  const { address, ask } = base
  await t.test('passes the contract, by its address', t => contract(t, base, () => ({ client: address }), /./))

  await t.test('reading creates no tables; the first write does, also by several servers at once', async t => {
    await drop(base)
    const warnings: string[] = []
    const infos: string[] = []
    const { store, kind } = await openStore({ sql: { client: address } }, [], {
      info: (text: string) => infos.push(text),
      warn: (text: string) => warnings.push(text)
    } as never)
    t.equal(kind, 'sql')
    const place = address.startsWith('sqlite:') ? `in ${address}` : address.replace(/^.*[@/](?=[^@/]+\/)/, 'at ')
    t.strictSame(infos, [`maintenance: the store is the table maintenance ${place}`])
    t.equal(await store.read('a'), null)
    t.strictSame(await store.heartbeats?.(), [])
    t.strictSame(await store.listHistory?.('a', 5), [])
    t.match(warnings, [/the table maintenance does not exist: the first change creates it/])
    t.equal(warnings.length, 1)
    await t.rejects(ask('SELECT * FROM maintenance'))
    store.close()
    const stores = await Promise.all([1, 2, 3, 4].map(() => open(t, address)))
    await Promise.all(stores.map((store, i) => store.write(`site${i}`, 'record', { revision: 1, expectedRevision: 0 })))
    t.equal((await ask('SELECT * FROM maintenance')).length, 4)
    await t.rejects(stores[0]!.write('site1', 'record', { revision: 2, expectedRevision: 7 }), CONFLICT)
    // a writer that died after it had made room
    await ask("INSERT INTO maintenance (site, record, revision) VALUES ('room', '', 0)")
    t.equal(await stores[0]!.read('room'), null)
    t.strictSame([...(await stores[0]!.readAll?.())?.keys() ?? []].sort(), ['site0', 'site1', 'site2', 'site3'])
    await stores[0]!.write('room', 'record', { revision: 1, expectedRevision: 0 })
  })

  await t.test("keeps the last 100 changes of a site, by the database's clock", async t => {
    const store = await open(t, address)
    for (let i = 0; i < 105; i++) await store.appendHistory?.('a', `entry ${i}`)
    await store.appendHistory?.('b', 'another')
    t.same(await ask("SELECT count(*) AS kept FROM maintenance_history WHERE site = 'a'"), [{ kept: 100 }])
    t.strictSame(await store.listHistory?.('a', 2), ['entry 104', 'entry 103'])
    await store.read('a')
    const [[difference = NaN]] = [[Math.abs((store.now?.() ?? NaN) - Date.now())]]
    t.ok(difference < 2000, `the clocks differ by ${difference} ms`)
  })

  await t.test('two servers and the command: the others follow, and see each other', async t => {
    await drop(base)
    const apps = await Promise.all(['one', 'other'].map(async () => (await createApp(t, { store: address })).app))
    const [one, other] = apps as [typeof apps[0], typeof apps[0]]
    one.get('/', async () => 'open')
    await Promise.all([one.ready(), other.ready()])
    await until('both are listed', async () => (await one.maintenance.servers()).length === 2)
    await other.maintenance.set(true, { message: 'Moving', by: 'ops', wait: '5s' })
    await until('the other follows', () => one.maintenance.active)
    t.equal((await one.inject('/')).statusCode, 503)
    t.match(one.maintenance.status().store, { kind: 'sql', connected: true, error: null })
    const status = await run(address, 'status')
    t.match(status, { code: 4, out: /Moving/, err: '' })
    t.match(await run(address, 'off', '--by', 'me'), { code: 0 })
    await until('it follows', () => !one.maintenance.active)
    t.match(await one.maintenance.history(), [{ kind: 'opened', by: 'me' }, { kind: 'closed', by: 'ops' }])
    t.match(await run(address, 'on', '--prefix', 'other_table', '--force'), { code: 0 })
    t.equal(one.maintenance.active, false, 'another table is separate')
    await ask(
      'DROP TABLE other_table'.replace('other', base.address.startsWith('mariadb') ? 'app.other' : 'other')
    ).catch(() => {})
  })

  await t.test('a corrupt record is named and overwritten', async t => {
    await drop(base)
    const store = await open(t, address)
    await store.write('default', 'garbage', { revision: 5 })
    await ask("UPDATE maintenance SET revision = 99 WHERE site = 'default'")
    const { app } = await createApp(t, { store: address })
    await app.ready()
    t.match(app.maintenance.status(), { active: true, source: 'unreadable' })
    await app.maintenance.set(false)
    t.equal(app.maintenance.active, false)
  })
}

/** Tests for faults of a database server. */
async function faults (t: Test, base: Base, credentials: string): Promise<void> {
  const { address, server } = base as Required<Base>

  await t.test('no right to create tables: the error has the SQL, and no password', async t => {
    await drop(base)
    const poor = address.replace(/\/\/[^@]*@/, `//${credentials}@`)
    const store = await open(t, poor)
    t.equal(await store.read('a'), null)
    await t.rejects(store.write('a', 'record', { revision: 1, expectedRevision: 0 }), {
      code: 'FST_ERR_MAINTENANCE_STORE', message: /(?=[^]*CREATE TABLE IF NOT EXISTS)(?=[^]*(permission|denied))/
    })
    await t.rejects(store.heartbeat!('id', 'entry', 1000), /CREATE TABLE/)
    await (await open(t, address)).write('a', 'record', { revision: 1, expectedRevision: 0 })
    const error: Error = await store.write('a', 'other', { revision: 2, expectedRevision: 1 }).then(
      () => t.fail('written') as never,
      error => error
    )
    t.match(error.message, /denied/)
    t.notMatch(JSON.stringify([error.message, error.stack, Object.entries(error)]), /S3cret/)
    const wrong = await open(t, poor.replace('S3cret', 'Wr0ng'))
    await wrong.read('a').catch(error => t.notMatch(`${error.stack}${JSON.stringify(error)}`, /Wr0ng/))
  })

  await t.test('frozen: times out, outcome unknown if it was sent, and recovers without a restart', async t => {
    const store = await open(t, address)
    await store.write('f', 'first', { revision: 1 })
    await server.stop()
    try {
      const begin = performance.now()
      await t.rejects(store.write('f', 'second', { revision: 2, expectedRevision: 1 }), UNKNOWN)
      await t.rejects(store.read('f'), /no connection|did not answer/)
      await t.rejects(
        store.write('f', 'third', { revision: 3, expectedRevision: 2 }),
        /no connection/,
        'it was never sent'
      )
      t.ok(performance.now() - begin < 10_000)
    } finally {
      server.go()
    }
    await until('it answers again', () => store.read('f').then(record => record !== null, () => false))
  })

  await t.test('gone and back: the last known state is kept, and the servers follow again', async t => {
    const { app: one } = await createApp(t, { store: address })
    const { app: other, lines } = await createApp(t, { store: address })
    await one.ready()
    await one.maintenance.set(true)
    await until('the other follows', () => other.maintenance.active)
    await server.kill()
    await until('it is noticed', async () => {
      await other.maintenance.refresh()
      return !other.maintenance.status().store.connected
    })
    t.equal(other.maintenance.active, true)
    await t.rejects(one.maintenance.set(false), { code: 'FST_ERR_MAINTENANCE_STORE' })
    t.equal(one.maintenance.active, true)
    const late = await createApp(t, { store: address, whenUnknown: 'closed' })
    await late.app.ready()
    t.match(late.app.maintenance.status(), { active: true, source: 'unknown' }, 'booting does not need the database')
    await server.start()
    await until('it can be changed again', () => one.maintenance.set(false).then(() => true, () => false))
    await until('all follow', () => !other.maintenance.active && late.app.maintenance.status().source === 'store')
    t.notMatch(JSON.stringify(lines), /S3cret/)
  })

  await t.test('a connection that breaks after a write: outcome unknown', async t => {
    const proxy = await startProxy(t, server.port)
    const store = await open(t, address.replace(`:${server.port}`, `:${proxy.port}`))
    await store.write('p', 'first', { revision: 1 })
    proxy.frozen = true
    const writing = store.write('p', 'second', { revision: 2, expectedRevision: 1 })
    setTimeout(() => proxy.cut(), 200)
    await t.rejects(writing, UNKNOWN)
    proxy.frozen = false
    await until('it reconnects', () => store.read('p').then(record => record === 'first', () => false))
    store.close()
    await t.rejects(store.read('p'), /the store is closed/)
  })
}

// started in series, before any test with a timeout
const bases = {
  postgres: noPostgres === false ? await postgres(t) : undefined,
  mariadb: noMariadb === false ? await mariadb(t) : undefined
}

// each mostly waits for its own database
t.jobs = 3

t.test('PostgreSQL', { skip: noPostgres, buffered: true }, async t => {
  const base = bases.postgres as Base
  const { address, ask, server } = base as Base & { server: PostgresServer }
  await common(t, base)

  await t.test('passes the contract, by a pool and by a function', async t => {
    const pool = new Pool({ host: '127.0.0.1', port: server.port, user: 'postgres', max: 1 })
    t.teardown(() => pool.end())
    await contract(t, base, () => ({ client: { pool }, createTables: true }))
    await contract(t, base, () => ({
      dialect: 'postgres', createTables: true, query: (text, values) => pool.query(text, [...values])
    }))
    const rows = async (text: string, values: readonly unknown[]) => (await pool.query(text, [...values])).rows
    await contract(t, base, () => ({
      dialect: 'postgres', createTables: true, table: 'public.maintenance', query: rows
    }))
  })

  await t.test('a pool that is busy with slow queries does not prevent closing the site', async t => {
    const pool = new Pool({ connectionString: address, max: 1 })
    t.teardown(() => pool.end())
    const store = await open(t, { client: pool, createTables: true })
    const slow = pool.query('SELECT pg_sleep(3)')
    await store.write('s', 'record', { revision: 1 })
    t.equal(await store.read('s'), 'record')
    await slow
  })

  await t.test('a write sends a notification, also after the listening connection has been ended', async t => {
    const [listening, writing] = [await open(t, address), await open(t, address)]
    const hints: (string | undefined)[] = []
    await listening.watch(site => { hints.push(site) })
    t.strictSame(hints, [undefined])
    await writing.write('Shop.1', 'record', { revision: 1 })
    await until('heard', () => hints.includes('Shop.1'))
    await t.rejects(writing.write('Shop.1', 'record', { revision: 3, expectedRevision: 2 }), CONFLICT)
    t.notOk(hints.slice(2).length, 'rejected writes send none')
    await ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'")
    await until('it listens again', () => hints.length > 2 && hints.at(-1) === undefined)
    await writing.write('Shop.2', 'record', { revision: 1, expectedRevision: 0 })
    await until('notified again', () => hints.includes('Shop.2'))
  })

  await t.test('a rejected LISTEN is retried', async t => {
    const proxy = await startProxy(t, server.port)
    const store = await open(t, address.replace(`:${server.port}`, `:${proxy.port}`))
    proxy.muteFrom = 'LISTEN'
    let hints = 0
    const watching = Promise.resolve(store.watch(() => { hints++ }))
    await until('it has tried again', () => proxy.opened > 1)
    t.equal(hints, 0)
    proxy.muteFrom = ''
    await watching
    t.equal(hints, 1)
  })

  await t.test('many sites are read by one statement', async t => {
    let statements = 0
    const pool = new Pool({ connectionString: address, max: 2 })
    t.teardown(() => pool.end())
    const query = (text: string, values: readonly unknown[]) => {
      statements++
      return pool.query(text, [...values])
    }
    const store = await open(t, { dialect: 'postgres', query, createTables: true })
    await store.write('site7', 'record', { revision: 1 })
    statements = 0
    const records = await Promise.all(Array.from({ length: 250 }, (_, i) => store.read(`site${i}`)))
    t.equal(records.filter(record => record !== null).length, 1)
    t.equal(statements, 3)
  })

  await t.test('a locked table: timeout, outcome unknown; a read-only database: rejected', async t => {
    const store = await open(t, address)
    await store.write('l', 'first', { revision: 1 })
    const pool = new Pool({ connectionString: address, max: 1 })
    t.teardown(() => pool.end())
    await pool.query('BEGIN; LOCK TABLE maintenance IN ACCESS EXCLUSIVE MODE')
    await t.rejects(store.write('l', 'second', { revision: 2 }), UNKNOWN)
    await pool.query('ROLLBACK')
    const readOnly = await open(t, `${address}?options=-c%20default_transaction_read_only%3Don`)
    t.equal(typeof await readOnly.read('l'), 'string')
    await t.rejects(readOnly.write('l', 'third', { revision: 3 }), { code: '25006', message: /read-only/ })
    // as after a failover, if the address leads to the new primary
    const failed = await open(t, address)
    await pool.query("ALTER ROLE postgres SET default_transaction_read_only = 'on'")
    await t.rejects(failed.write('l', 'third', { revision: 3 }), { code: '25006' })
    const again = new Pool({ connectionString: `${address}?options=-c%20default_transaction_read_only%3Doff`, max: 1 })
    await again.query('ALTER ROLE postgres RESET default_transaction_read_only')
    await again.end()
    await failed.write('l', 'third', { revision: 3 })
  })

  await t.test('a table name that is too long for a channel', async t => {
    const schema = 's'.repeat(60)
    await ask(`CREATE SCHEMA ${schema}`)
    const [one, other] = [await open(t, {
      client: address, table: `${schema}.state`
    }), await open(t, { client: address, table: `${schema}.state` })]
    const hints: (string | undefined)[] = []
    await other.watch(site => { hints.push(site) })
    await one.write('a', 'record', { revision: 1 })
    await until('announced', () => hints.includes('a'))
    await ask(`DROP SCHEMA ${schema} CASCADE`)
  })

  await t.test('docs/coming-from-django.md: a site of django-maintenancemode-2 migrates with its database', async t => {
    // as Django's migrations create them
    await ask(`CREATE TABLE django_site (id serial PRIMARY KEY, domain varchar(100) NOT NULL UNIQUE, name varchar(50) NOT NULL);
      CREATE TABLE maintenancemode_maintenance (id serial PRIMARY KEY, is_being_performed boolean NOT NULL, site_id integer NOT NULL UNIQUE REFERENCES django_site);
      CREATE TABLE maintenancemode_ignoredurl (id serial PRIMARY KEY, pattern varchar(255) NOT NULL, description varchar(75) NOT NULL, maintenance_id integer NOT NULL REFERENCES maintenancemode_maintenance);
      INSERT INTO django_site (domain, name) VALUES ('shop.example.com', 'Shop'), ('blog.example.com', 'Blog');
      INSERT INTO maintenancemode_maintenance (is_being_performed, site_id) VALUES (true, 1), (false, 2);
      INSERT INTO maintenancemode_ignoredurl (pattern, description, maintenance_id) VALUES ('^help/', 'Help', 1)`)
    await drop(base)
    const page = readFileSync('docs/coming-from-django.md', 'utf8')
    const [create, look, close, start, remove] = blocksIn(
      page.slice(page.indexOf('### Moving over, with your database'))
    ).map(({ code }) => code) as [string, string, string, string, string]
    const type = (line: string) => run(address, ...(line.trim().replace(/^npx fastify-maintenance /, '')
      .match(/"[^"]*"|\S+/g) ?? []).map(word => word.replaceAll('"', '')))
    const [command = '', psql] = create.split(' | ')
    t.match(psql, /^psql "\$MAINTENANCE_STORE"/)
    await ask((await type(command)).out)
    t.same(await ask(look), [
      { domain: 'blog.example.com', is_being_performed: false, pattern: null, description: null },
      { domain: 'shop.example.com', is_being_performed: true, pattern: '^help/', description: 'Help' }
    ])
    t.match(await type(close), { code: 0, out: /shop.example.com: closed/ })
    const { app } = bareApp(t)
    await runPiece(start, { app, maintenance, process: { env: { MAINTENANCE_STORE: address } } })
    app.get('/help/me', async () => 'help')
    app.get('/', async () => 'shop')
    t.strictSame([(await app.inject('/')).statusCode, (await app.inject('/help/me')).statusCode], [503, 200])
    t.match(await type('npx fastify-maintenance off shop.example.com'), { code: 0 })
    await until('open', () => !app.maintenance.active)
    await ask(remove)
    t.equal((await app.inject('/')).body, 'shop')
  })

  await ask("CREATE ROLE poor LOGIN PASSWORD 'S3cret'")
  await ask('REVOKE CREATE ON SCHEMA public FROM PUBLIC')
  await faults(t, base, 'poor:S3cret')
})

t.test('MariaDB', { skip: noMariadb, buffered: true }, async t => {
  const base = bases.mariadb as Base
  const { ask, server } = base as Base & { server: MariadbServer }
  await common(t, base)

  await t.test('passes the contract, by pools and by a function', async t => {
    const options = { host: '127.0.0.1', port: server.port, user: 'root', database: 'app' }
    const pools = [createPool(options), createCallbackPool(options)] as const
    t.teardown(() => Promise.all([pools[0].end(), pools[1].promise().end()]))
    for (const client of pools) await contract(t, base, () => ({ client, createTables: true }))
    const affected = async (text: string, values: readonly unknown[]) => {
      const [result] = await pools[0].execute(text, values as string[])
      return Array.isArray(result) ? result : result.affectedRows
    }
    await contract(t, base, () => ({ dialect: 'mysql', createTables: true, query: affected }))
    const store = await open(t, {
      dialect: 'mysql',
      query: async (text, values) => /^SELECT/.test(text) ? affected(text, values) : (await affected(text, values), [])
    })
    await t.rejects(
      store.write('c', 'record', { revision: 1, expectedRevision: 0 }),
      { ...UNKNOWN, message: /affectedRows/ }
    )
  })

  await ask("CREATE USER poor IDENTIFIED BY 'S3cret'")
  await ask('GRANT SELECT ON app.* TO poor')
  await faults(t, base, 'poor:S3cret')
})

t.test('SQLite', { buffered: true }, async t => {
  const base = await sqlite(t)
  const { address, ask } = base
  const file = address.slice('sqlite:'.length)
  await common(t, base)

  await t.test("passes the contract, by the application's database", async t => {
    const database = new Sqlite(file)
    t.teardown(() => database.close())
    await contract(t, base, () => ({ client: database, createTables: true }))
  })

  await t.test("an in-memory database has one connection, the application's", async t => {
    const database = new Sqlite(':memory:')
    t.teardown(() => database.close())
    const store = await open(t, { client: database, createTables: true })
    await store.write('a', 'record', { revision: 1, expectedRevision: 0 })
    t.same(database.prepare('SELECT record FROM maintenance').all(), [{ record: 'record' }])
  })

  await t.test("the application's transaction delays nothing", async t => {
    const database = new Sqlite(file)
    t.teardown(() => database.close())
    const store = await open(t, { client: database })
    database.exec('BEGIN')
    await store.write('own', 'record', { revision: 1, expectedRevision: 0 })
    database.exec('ROLLBACK')
    t.equal(await store.read('own'), 'record')
  })

  await t.test('reading creates no file; a replaced file is reopened', async t => {
    const path = join(temporary(t), 'new.db')
    const store = await open(t, `sqlite:${path}`)
    t.equal(await store.read('a'), null)
    t.equal(statSync(path, { throwIfNoEntry: false }), undefined)
    await store.write('a', 'first', { revision: 1, expectedRevision: 0 })
    rmSync(path)
    t.equal(await store.read('a'), null)
    await store.write('a', 'second', { revision: 1, expectedRevision: 0 })
    t.equal(await store.read('a'), 'second')
    rmSync(path)
    writeFileSync(path, 'no database '.repeat(100))
    await t.rejects(store.read('a'), /not a database/)
    await t.rejects(store.write('a', 'third', { revision: 2 }), { code: 'SQLITE_NOTADB' })
  })

  await t.test('while another process writes, it waits without blocking, and times out', async t => {
    const store = await open(t, address)
    await store.write('b', 'first', { revision: 1 })
    const other = new Sqlite(file)
    t.teardown(() => other.close())
    other.exec('BEGIN EXCLUSIVE')
    let turns = 0
    const timer = setInterval(() => { turns++ }, 10)
    await t.rejects(store.write('b', 'second', { revision: 2 }), /locked/)
    clearInterval(timer)
    t.ok(turns > 5)
    setTimeout(() => other.exec('COMMIT'), 100)
    await store.write('b', 'third', { revision: 3, expectedRevision: 1 })
    t.equal(await store.read('b'), 'third')
    t.same(await ask("SELECT revision FROM maintenance WHERE site = 'b'"), [{ revision: 3 }])
  })
})

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
  const file = join(temporary(t), 'node.db')
  const store = createStore(openAddress(`sqlite:${file}`, name => name === 'node:sqlite' ? { DatabaseSync } : null), {
    table: 'maintenance', createTables: true
  })
  await store.write('a', 'first', { revision: 1, expectedRevision: 0 })
  await t.rejects(store.write('a', 'second', { revision: 2, expectedRevision: 7 }), CONFLICT)
  t.equal(await store.read('a'), 'first')
  await store.close()
})

t.test('a knex client, and results and errors of other libraries', async t => {
  const file = join(temporary(t), 'knex.db')
  const database = new Sqlite(file)
  t.teardown(() => database.close())
  const knex = Object.assign(() => {}, {
    client: { dialect: 'better-sqlite3' },
    raw: async (text: string, values: unknown[]) =>
      database.prepare(text).reader ? database.prepare(text).all(...values) : database.prepare(text).run(...values)
  })
  const store = await open(t, { client: knex, createTables: true })
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
  const file = join(temporary(t), 'boot.db')
  const client = new Sqlite(file)
  t.teardown(() => client.close())
  await t.rejects(openStore({ sql: { client } }, []), {
    code: 'FST_ERR_MAINTENANCE_OPTION',
    message: /Set createTables: true, or create them yourself. Create them with:\n\nCREATE TABLE/
  })
  await createTables({ client, table: 'ops' })
  t.equal((await openStore({ sql: { client, table: 'ops' } }, [])).pollInterval, 1000)
  t.equal((await openStore(
    { sql: { client, createTables: true }, pollInterval: '2s', mirror: join(temporary(t), 'mirror.json') },
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
  const directory = temporary(t)
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
  t.match(await run('', 'sql', 'postgres'), {
    code: 0, out: /CREATE TABLE IF NOT EXISTS "maintenance" \([^]*bigserial[^]*"maintenance_servers"/
  })
  t.match(await run('mariadb://host/app', 'sql', '--prefix', 'ops'), { code: 0, out: /`ops_history`/ })
  t.match(await run('postgresql://host/app', 'sql'), { code: 0, out: /bigserial/ })
  t.match(await run('sqlite:./app.db', 'sql'), { code: 0, out: /AUTOINCREMENT/ })
  t.match(await run('redis://host', 'sql'), {
    code: 2, err: /'sql' needs a database: sql postgres, sql mysql or sql sqlite/
  })
  t.match(await run('', 'sql', 'oracle'), { code: 2, err: /not 'oracle'/ })
  t.match(await run('', 'sql', 'mysql', 'sqlite'), { code: 2, err: /takes one database/ })
  t.match(await run('', 'sql', 'mysql', '--json'), { code: 2, err: /'sql' has no option --json/ })
  t.match(await run('', 'sql', 'mysql', '--prefix', 'a-b'), {
    code: 2, err: /--prefix 'a-b': expected the name of a table/
  })
  t.match(await run('sqlite:./app.db', 'status', '--prefix', 'a-b'), { code: 2, err: /expected the name of a table/ })
  t.match(await run('postgres://ops:S3cret@127.0.0.1:1/app', 'status'), {
    code: 1, err: /^(?!.*S3cret).*no connection/
  })
})
