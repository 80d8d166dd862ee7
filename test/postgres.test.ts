import fastifyPostgres from '@fastify/postgres'
import { readFileSync } from 'node:fs'
import { Pool } from 'pg'
import t from 'tap'
import { createPostgresStore, SCHEMA } from '../examples/postgres-store.ts'
import maintenance from '../index.ts'
import { storeContract } from '../lib/stores/contract.ts'
import { bareApp, until } from './fixtures/app.ts'
import { blocksOf, runPiece } from './fixtures/docs.ts'
import { noPostgres, startPostgres } from './fixtures/postgres.ts'

// The store of docs/custom-stores.md, on a real PostgreSQL.

t.test('the page shows the store that is tested, and it is short', async t => {
  const code = readFileSync('examples/postgres-store.ts', 'utf8')
  t.ok(readFileSync('docs/custom-stores.md', 'utf8').includes(`\`\`\`ts\n${code}\`\`\``), 'docs/custom-stores.md holds examples/postgres-store.ts as it is')
  t.ok(code.split('\n').length - 1 < 80, 'under 80 lines')
})

t.test('the store on PostgreSQL', { skip: noPostgres }, async t => {
  const server = await startPostgres(t)
  const usage = blocksOf('docs/custom-stores.md').filter(({ language }) => language === 'ts')[1]?.code ?? ''

  function openPool () {
    const pool = new Pool({ connectionString: server.url, max: 5 })
    pool.on('error', () => {})
    return pool
  }

  const admin = openPool()
  await admin.query(SCHEMA)

  await t.test('passes the contract', async t => {
    const create = async () => {
      await admin.query('TRUNCATE maintenance, maintenance_history')
      const pools: Pool[] = []
      return {
        connect () {
          const pool = openPool()
          pools.push(pool)
          return createPostgresStore(pool)
        },
        remove: async () => { await Promise.all(pools.map(pool => pool.end())) }
      }
    }
    for (const { name, run } of storeContract(create)) await t.test(name, t => t.resolves(run()))
  })

  await t.test('two servers on @fastify/postgres: the other follows, and both keep what they know while PostgreSQL is gone', async t => {
    await admin.query('TRUNCATE maintenance, maintenance_history')
    const servers = await Promise.all([1, 2].map(async () => {
      const { app } = bareApp(t)
      await runPiece(usage, { app, fastifyPostgres, maintenance, createPostgresStore, SCHEMA, process: { env: { DATABASE_URL: server.url } } })
      app.get('/', async () => 'open')
      await app.ready()
      return app
    }))
    const [one, other] = servers as [typeof servers[0], typeof servers[0]]
    const listening = async () => (await admin.query("SELECT FROM pg_stat_activity WHERE query = 'LISTEN maintenance'")).rowCount === 2
    await until('both listen', listening)

    let heard: () => void = () => {}
    const closed = new Promise<void>(resolve => { heard = resolve })
    other.maintenance.onChange(() => heard())
    await one.maintenance.set(true, { message: 'Moving', by: 'ops' })
    await closed
    t.equal((await other.inject('/')).statusCode, 503)
    t.match(await other.maintenance.history(), [{ on: true, message: 'Moving', by: 'ops' }])

    await server.kill()
    await other.maintenance.refresh()
    t.match(other.maintenance.status(), { active: true, store: { kind: 'custom', connected: false } })
    t.equal((await other.inject('/')).statusCode, 503, 'the last known state stands')
    await t.rejects(one.maintenance.set(false), { code: 'FST_ERR_MAINTENANCE_STORE' })
    t.equal(one.maintenance.active, true)

    await server.start()
    await until('both listen again', () => listening().catch(() => false))
    await one.maintenance.set(false)
    await until('the other follows', () => !other.maintenance.active)
    await t.rejects(one.maintenance.set(true, { expectedRevision: 1 }), { code: 'FST_ERR_MAINTENANCE_CONFLICT' })
    await one.maintenance.run(async () => {}, { lease: 1000 })
    t.equal((await other.maintenance.history()).length, 4)
  })

  await t.test('a write is told to those who listen, with its site', async t => {
    const pool = openPool()
    const [listening, writing] = [createPostgresStore(pool), createPostgresStore(pool)]
    const hints: (string | undefined)[] = []
    await listening.watch(site => { hints.push(site) })
    await writing.write('Shop.1', 'record', { revision: 1, quiet: true })
    await until('told', () => hints.includes('Shop.1'))
    t.strictSame(hints, [undefined, 'Shop.1'])
    await listening.close()
    await writing.close()
    await pool.end()
  })

  await t.test('a database that stops answering: unknown, and given up in time', async t => {
    const pool = openPool()
    const store = createPostgresStore(pool)
    const lock = await admin.connect()
    await lock.query('BEGIN; LOCK TABLE maintenance IN ACCESS EXCLUSIVE MODE')
    await t.rejects(store.write('a', 'record', { revision: 1 }), { code: 'FST_ERR_MAINTENANCE_STORE_UNKNOWN' })
    await lock.query('ROLLBACK')
    lock.release()
    await store.close()
    await pool.end()
  })
  await admin.end()
})
