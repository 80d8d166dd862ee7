import Sqlite from 'better-sqlite3'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createPool } from 'mysql2/promise'
import { createPool as createCallbackPool } from 'mysql2'
import { Pool } from 'pg'
import t, { type Test } from 'tap'
import { storeContract } from '../lib/stores/contract.ts'
import { openStore } from '../lib/stores/open.ts'
import maintenance from '../index.ts'
import type { SqlOptions } from '../types/index.ts'
import { bareApp, createApp, until } from './fixtures/app.ts'
import { dropTables, mariadbBase, postgresBase, sqliteBase, type Base } from './fixtures/databases.ts'
import { blocksIn, runPiece } from './fixtures/docs.ts'
import { noMariadb, type MariadbServer } from './fixtures/mariadb.ts'
import { noPostgres, type PostgresServer } from './fixtures/postgres.ts'
import { startProxy } from './fixtures/redis.ts'
import { CONFLICT, openSql, runCommand, temporaryDirectory, UNKNOWN } from './fixtures/sql.ts'

/** Retries on new tables, because on a busy machine a connection or statement may time out. */
const patiently = (run: () => Promise<void>, tries = 5): Promise<void> => run().catch(error => {
  if (tries === 1 || !/did not answer within|timeout expired|Connection terminated|ETIMEDOUT/.test(error.message)) throw error
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
    await dropTables(base)
    return { connect: async () => (await openStore({ sql: sql() }, [])).store }
  })) if (part.test(name)) await t.test(name, t => t.resolves(patiently(run)))
}

/** Tests for every database. */
async function common (t: Test, base: Base): Promise<void> {
  const { address, ask } = base
  await t.test('passes the contract, by its address', t => contract(t, base, () => ({ client: address }), /./))

  await t.test('reading creates no tables; the first write does, also by several servers at once', async t => {
    await dropTables(base)
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
    const stores = await Promise.all([1, 2, 3, 4].map(() => openSql(t, address)))
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
    const store = await openSql(t, address)
    for (let i = 0; i < 105; i++) await store.appendHistory?.('a', `entry ${i}`)
    await store.appendHistory?.('b', 'another')
    t.same(await ask("SELECT count(*) AS kept FROM maintenance_history WHERE site = 'a'"), [{ kept: 100 }])
    t.strictSame(await store.listHistory?.('a', 2), ['entry 104', 'entry 103'])
    await store.read('a')
    const [[difference = NaN]] = [[Math.abs((store.now?.() ?? NaN) - Date.now())]]
    t.ok(difference < 2000, `the clocks differ by ${difference} ms`)
  })

  await t.test('two servers and the command: the others follow, and see each other', async t => {
    await dropTables(base)
    const apps = await Promise.all(['one', 'other'].map(async () => (await createApp(t, { store: address })).app))
    const [one, other] = apps as [typeof apps[0], typeof apps[0]]
    one.get('/', async () => 'open')
    await Promise.all([one.ready(), other.ready()])
    await until('both are listed', async () => (await one.maintenance.servers()).length === 2)
    await other.maintenance.set(true, { message: 'Moving', by: 'ops', wait: '5s' })
    await until('the other follows', () => one.maintenance.active)
    t.equal((await one.inject('/')).statusCode, 503)
    t.match(one.maintenance.status().store, { kind: 'sql', connected: true, error: null })
    const status = await runCommand(address, 'status')
    t.match(status, { code: 4, out: /Moving/, err: '' })
    t.match(await runCommand(address, 'off', '--by', 'me'), { code: 0 })
    await until('it follows', () => !one.maintenance.active)
    t.match(await one.maintenance.history(), [{ kind: 'opened', by: 'me' }, { kind: 'closed', by: 'ops' }])
    t.match(await runCommand(address, 'on', '--prefix', 'other_table', '--force'), { code: 0 })
    t.equal(one.maintenance.active, false, 'another table is separate')
    await ask(
      'DROP TABLE other_table'.replace('other', base.address.startsWith('mariadb') ? 'app.other' : 'other')
    ).catch(() => {})
  })

  await t.test('a corrupt record is named and overwritten', async t => {
    await dropTables(base)
    const store = await openSql(t, address)
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
    await dropTables(base)
    const poor = address.replace(/\/\/[^@]*@/, `//${credentials}@`)
    const store = await openSql(t, poor)
    t.equal(await store.read('a'), null)
    await t.rejects(store.write('a', 'record', { revision: 1, expectedRevision: 0 }), {
      code: 'FST_ERR_MAINTENANCE_STORE', message: /(?=[^]*CREATE TABLE IF NOT EXISTS)(?=[^]*(permission|denied))/
    })
    await t.rejects(store.heartbeat!('id', 'entry', 1000), /CREATE TABLE/)
    await (await openSql(t, address)).write('a', 'record', { revision: 1, expectedRevision: 0 })
    const error: Error = await store.write('a', 'other', { revision: 2, expectedRevision: 1 }).then(
      () => t.fail('written') as never,
      error => error
    )
    t.match(error.message, /denied/)
    t.notMatch(JSON.stringify([error.message, error.stack, Object.entries(error)]), /S3cret/)
    const wrong = await openSql(t, poor.replace('S3cret', 'Wr0ng'))
    await wrong.read('a').catch(error => t.notMatch(`${error.stack}${JSON.stringify(error)}`, /Wr0ng/))
  })

  await t.test('frozen: times out, outcome unknown if it was sent, and recovers without a restart', async t => {
    const store = await openSql(t, address)
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
    const store = await openSql(t, address.replace(`:${server.port}`, `:${proxy.port}`))
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
  postgres: noPostgres === false ? await postgresBase(t) : undefined,
  mariadb: noMariadb === false ? await mariadbBase(t) : undefined
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
    const store = await openSql(t, { client: pool, createTables: true })
    const slow = pool.query('SELECT pg_sleep(3)')
    await store.write('s', 'record', { revision: 1 })
    t.equal(await store.read('s'), 'record')
    await slow
  })

  await t.test('a write sends a notification, also after the listening connection has been ended', async t => {
    const [listening, writing] = [await openSql(t, address), await openSql(t, address)]
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
    const store = await openSql(t, address.replace(`:${server.port}`, `:${proxy.port}`))
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
    const store = await openSql(t, { dialect: 'postgres', query, createTables: true })
    await store.write('site7', 'record', { revision: 1 })
    statements = 0
    const records = await Promise.all(Array.from({ length: 250 }, (_, i) => store.read(`site${i}`)))
    t.equal(records.filter(record => record !== null).length, 1)
    t.equal(statements, 3)
  })

  await t.test('a locked table: timeout, outcome unknown; a read-only database: rejected', async t => {
    const store = await openSql(t, address)
    await store.write('l', 'first', { revision: 1 })
    const pool = new Pool({ connectionString: address, max: 1 })
    t.teardown(() => pool.end())
    await pool.query('BEGIN; LOCK TABLE maintenance IN ACCESS EXCLUSIVE MODE')
    await t.rejects(store.write('l', 'second', { revision: 2 }), UNKNOWN)
    await pool.query('ROLLBACK')
    const readOnly = await openSql(t, `${address}?options=-c%20default_transaction_read_only%3Don`)
    t.equal(typeof await readOnly.read('l'), 'string')
    await t.rejects(readOnly.write('l', 'third', { revision: 3 }), { code: '25006', message: /read-only/ })
    // as after a failover, if the address leads to the new primary
    const failed = await openSql(t, address)
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
    const [one, other] = [await openSql(t, {
      client: address, table: `${schema}.state`
    }), await openSql(t, { client: address, table: `${schema}.state` })]
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
    await dropTables(base)
    const page = readFileSync('docs/coming-from-django.md', 'utf8')
    const [create, look, close, start, remove] = blocksIn(
      page.slice(page.indexOf('### Moving over, with your database'))
    ).map(({ code }) => code) as [string, string, string, string, string]
    const type = (line: string) => runCommand(address, ...(line.trim().replace(/^npx fastify-maintenance /, '')
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
    const store = await openSql(t, {
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
  const base = await sqliteBase(t)
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
    const store = await openSql(t, { client: database, createTables: true })
    await store.write('a', 'record', { revision: 1, expectedRevision: 0 })
    t.same(database.prepare('SELECT record FROM maintenance').all(), [{ record: 'record' }])
  })

  await t.test("the application's transaction delays nothing", async t => {
    const database = new Sqlite(file)
    t.teardown(() => database.close())
    const store = await openSql(t, { client: database })
    database.exec('BEGIN')
    await store.write('own', 'record', { revision: 1, expectedRevision: 0 })
    database.exec('ROLLBACK')
    t.equal(await store.read('own'), 'record')
  })

  await t.test('reading creates no file; a replaced file is reopened', async t => {
    const path = join(temporaryDirectory(t), 'new.db')
    const store = await openSql(t, `sqlite:${path}`)
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
    const store = await openSql(t, address)
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
