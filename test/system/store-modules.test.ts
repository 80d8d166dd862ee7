import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { main } from '../../lib/cli/main.ts'
import { storeContract } from '../../lib/stores/contract.ts'
import type { FastifyMaintenanceOptions, MaintenanceStore } from '../../types/index.ts'
import { createApp, until } from '../fixtures/app.ts'
import { blocksOf } from '../fixtures/docs.ts'
import { noPostgres, startPostgres } from '../fixtures/postgres.ts'
import { startCluster, startSentinels } from '../fixtures/redis-cluster.ts'
import { freePort, startRedis } from '../fixtures/redis.ts'

// The modules of docs/command.md as written, except for the addresses, used by a server and the command.

// two at a time, as they mostly wait
t.jobs = 2

const MODULES =
  blocksOf('docs/command.md').filter(({ language, code }) => language === 'js' && code.includes('export default'))
const NODE_REDIS = 'examples/node-redis-store.mjs'

type Addresses = readonly (readonly [shown: string, real: string])[]

/** Saves a module of the page, named by the comment on its first line. @returns its path */
function saveModule (folder: string, name: string, addresses: Addresses): string {
  const code = MODULES.find(({ code }) => code.startsWith(`// ${name}`))?.code ?? ''
  const path = join(folder, 'maintenance-store.mjs')
  writeFileSync(path, addresses.reduce((text, [shown, real]) => {
    if (!text.includes(shown)) throw new Error(`the module '${name}' has no ${shown}`)
    return text.replace(shown, real)
  }, code))
  return path
}

const at = (host: string, shown: number, port: number) => [
  `'${host}', port: ${shown}`, `'127.0.0.1', port: ${port}`
] as const

async function type (...args: string[]) {
  let out = ''
  let err = ''
  const code = await main(args, {}, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

/** In its own process, which must exit although the module has opened connections. */
const spawned = (...args: string[]): Promise<{ code: number, out: string }> => new Promise(resolve => {
  const env = { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }
  execFile(
    process.execPath,
    ['dist/lib/cli/bin.js', ...args],
    { env, timeout: 60_000 },
    (error, out) => resolve({ code: Number(error?.code ?? 0), out })
  )
})

/** A server and the command with one module's store. */
async function operate (t: Test, path: string): Promise<void> {
  const exported = (await import(pathToFileURL(
    path
  ).href)).default as FastifyMaintenanceOptions['store'] | (() => MaintenanceStore)
  const { app } = await createApp(t, { store: typeof exported === 'function' ? exported() : exported })
  await app.ready()
  const { maintenance } = app
  const store = ['--store', path]

  await until('the server is listed', async () => (await type('servers', ...store)).out.includes('open, revision'))
  t.match(await type('on', '--message', 'Moving', '--by', 'ann', ...store), {
    code: 0, err: '', out: new RegExp(`^default: closed [^]*stored in: ${path}\n`)
  })
  await until('it has followed', () => maintenance.active)
  t.match(await type('status', ...store), { code: 4, out: /message: Moving\n {2}servers: 1 of 1 closed/ })
  t.match(await type('servers', ...store), { code: 0, out: /: closed, revision \d+/ })
  t.match(await type('history', ...store), { code: 0, out: /closed \(full\), by ann: Moving\n$/ })
  t.match(await type('off', ...store), { code: 0 })
  t.match(await spawned('on', '--wait', ...store), { code: 0, out: /default: safe to proceed\n$/ })
  t.equal(maintenance.active, true)
  t.match(await spawned('off', '--wait', ...store), { code: 0 })
  t.equal(maintenance.active, false)
  await app.close()
}

t.test('Redis Cluster', { buffered: true }, async t => {
  const [first, second] = await startCluster(t)
  process.env.REDIS_PASSWORD = 'hunter2'
  await operate(t, saveModule(t.testdir(), 'Redis Cluster', [
    at('redis-1.internal', 6379, first!.port), at('redis-2.internal', 6379, second!.port)
  ]))
})

t.test('Redis Sentinel', { buffered: true }, async t => {
  const master = await startRedis(t)
  await startRedis(t, ['--replicaof', '127.0.0.1', String(master.port)])
  const [first, second] = await startSentinels(t, master.port)
  await operate(t, saveModule(t.testdir(), 'Redis Sentinel', [
    at('redis-1.internal', 26379, first!.port), at('redis-2.internal', 26379, second!.port)
  ]))
})

t.test('Redis with TLS and client certificates', { buffered: true }, async t => {
  const folder = t.testdir()
  makeCertificates(folder)
  const port = await freePort()
  const files = [
    '--tls-cert-file', 'server.pem', '--tls-key-file', 'server-key.pem', '--tls-ca-cert-file', 'ca.pem'
  ].map(arg => arg.startsWith('--') ? arg : join(folder, arg))
  await startRedis(t, ['--tls-port', String(port), '--tls-auth-clients', 'yes', ...files])
  const path = saveModule(folder, 'Redis with TLS', [at('redis.internal', 6379, port)])
  await operate(t, path)

  const stranger = join(folder, 'stranger.mjs')
  writeFileSync(
    stranger,
    readFileSync(path, 'utf8').replace(", cert: read('client.pem'), key: read('client-key.pem')", '')
  )
  t.match(
    await type('status', '--store', stranger),
    { code: 1, out: '', err: /certificate|closed|ECONNRESET/i },
    'no access without a certificate'
  )
})

/** A CA, and its certificates for a server and a client. */
function makeCertificates (folder: string): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
  const make = (name: string, subject: string, ...rest: string[]) =>
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      subject,
      '-keyout',
      `${name}-key.pem`,
      '-out',
      `${name}.pem`,
      ...rest
    )
  make('ca', '/CN=authority')
  for (const name of ['server', 'client']) {
    make(
      name,
      `/CN=${name}`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca-key.pem',
      '-addext',
      'subjectAltName=IP:127.0.0.1',
      '-addext',
      'basicConstraints=CA:FALSE'
    )
  }
}

t.test('PostgreSQL', { buffered: true, skip: noPostgres }, async t => {
  const { port } = await startPostgres(t)
  await operate(t, saveModule(t.testdir(), 'PostgreSQL', [
    at('db.internal', 5432, port), ["user: 'maintenance', database: 'shop'", "user: 'postgres', database: 'postgres'"]
  ]))
})

t.test('node-redis', { buffered: true }, async t => {
  const server = await startRedis(t)
  const folder = t.testdir()
  copyFileSync(NODE_REDIS, join(folder, 'node-redis-store.mjs'))

  await t.test('docs/custom-stores.md contains the example unchanged', async t => {
    t.ok(readFileSync('docs/custom-stores.md', 'utf8').includes(`\`\`\`js\n${readFileSync(NODE_REDIS, 'utf8')}\`\`\``))
  })

  await t.test('the command and a server', async t => {
    await operate(t, saveModule(folder, 'The package redis', [['redis://redis.internal:6379', server.url]]))
  })

  const { createNodeRedisStore } = await import(pathToFileURL(join(folder, 'node-redis-store.mjs')).href) as
    { createNodeRedisStore: (options: { url: string }, prefix?: string) => MaintenanceStore }

  await t.test('passes the contract', async t => {
    let prefixes = 0
    const create = () => {
      const prefix = `contract${prefixes++}:`
      return { connect: () => createNodeRedisStore({ url: server.url }, prefix) }
    }
    for (const { name, run } of storeContract(create)) await t.test(name, t => t.resolves(run()))
  })

  await t.test('Redis is killed: the last known state is kept, and it reconnects', async t => {
    const { app } = await createApp(t, {
      store: { custom: createNodeRedisStore({ url: server.url }, 'killed:'), pollInterval: 200 }
    })
    const { maintenance } = app
    await maintenance.set(true)
    await server.kill()
    await until('it notices', () => !maintenance.status().store.connected)
    t.equal(maintenance.active, true)
    await t.rejects(maintenance.set(false), { code: /FST_ERR_MAINTENANCE_(STORE|OUTCOME_UNKNOWN)/ })
    await server.start()
    await until('it works again', () => maintenance.set(false).then(() => true, () => false))
    await app.close()
  })
})
