import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { main } from '../lib/cli/main.ts'
import { until } from './fixtures/app.ts'
import { Redis } from './fixtures/ioredis.ts'
import { startMute, startProxy, startRedis } from './fixtures/redis.ts'
import { boot, listening, separatePrefixes } from './fixtures/redis-apps.ts'

const server = await startRedis(t)
const own = separatePrefixes(server)

async function run (args: string[], env: NodeJS.ProcessEnv = {}) {
  let out = ''
  let err = ''
  const begin = Date.now()
  const code = await main(args, env, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err, took: Date.now() - begin }
}

t.test("the command: several sites, prefix, an application's keyPrefix", async t => {
  const { redis, prefix } = own()
  const at = ['--store', redis, '--prefix', prefix]
  t.match(await run(['status', 'shop', ...at]), { code: 0, out: /^shop: open \(nothing stored at redis:/, err: '' })
  const { maintenance } = await boot(t, { redis, prefix }, { site: 'shop', sites: ['shop', 'blog'] })
  await listening(server.client, `${prefix}{blog}:changes`, 1)
  t.match(await run(['on', 'shop', 'blog', '--by', 'ops', ...at]), {
    code: 0, out: /^shop: closed (.|\n)*\nblog: closed /
  })
  await until('followed', () => maintenance.active && maintenance.for('blog').active)
  t.match(await run(['status', 'blog', 'other', ...at]), { code: 4 })
  t.match(await run(['off', 'shop'], { MAINTENANCE_STORE: redis }), { code: 2, err: /neither stored in .* nor served/ })
  t.ok(maintenance.active, 'another prefix is separate')
  t.match(await run(['off', 'shop', ...at]), { code: 0 })
  await until('followed', () => !maintenance.active)

  const client = new Redis(redis, { keyPrefix: 'app:' })
  t.teardown(() => client.disconnect())
  const { maintenance: prefixed } = await boot(t, { redis: client, prefix })
  await listening(server.client, `app:${prefix}{default}:changes`, 1)
  t.match(await run(['on', '--store', redis, '--prefix', `app:${prefix}`]), { code: 0 })
  await until('found by the full prefix', () => prefixed.active)
})

t.test('the command: all sites are checked before the first one changes', async t => {
  const own1 = await startRedis(t)
  await own1.client.call('ACL', 'SETUSER', 'shop', 'reset', 'on', '>secret', '~*{shop}*', '&*', '+@all')
  const result = await run(['on', 'shop', 'blog', '--store', `redis://shop:secret@127.0.0.1:${own1.port}`])
  t.match(result, {
    code: 1, out: '', err: /^fastify-maintenance: the store failed, nothing was changed: NOPERM .*\n$/
  })
  t.notMatch(result.err, /secret/)
  t.strictSame(await own1.client.keys('*'), [])
  await own1.client.call(
    'ACL',
    'SETUSER',
    'reader',
    'reset',
    'on',
    '>secret',
    '~*',
    '&*',
    '+hmget',
    '+time',
    '+eval',
    '+evalsha',
    '+zrangebyscore'
  )
  t.match(await run(['on', 'shop', 'blog', '--force', '--store', `redis://reader:secret@127.0.0.1:${own1.port}`]), {
    code: 1, err: /^fastify-maintenance: site 'shop': the store failed, nothing was changed: .*can't run this command/
  })
})

t.test('the command: Redis unreachable, mute or denying: exit code 1 within 5 s, one line, no password', async t => {
  const guarded = await startRedis(t, [], { password: 'right' })
  const stopped = await startRedis(t)
  stopped.stop()
  const mute = await startMute(t)
  const proxy = await startProxy(t, server.port)
  proxy.frozen = true
  // ioredis 5 reports a connection as ready before Redis has answered
  const SILENT = /no connection|Command timed out/
  const cases: Record<string, [url: string, words: RegExp]> = {
    'nothing listens': ['redis://ops:hunter2@127.0.0.1:1', /ECONNREFUSED/],
    'no such name': ['redis://ops:hunter2@no-such-host.invalid', /ENOTFOUND|EAI_AGAIN/],
    'accepts and never answers': [`redis://ops:hunter2@127.0.0.1:${mute.port}`, SILENT],
    'stopped by a signal': [`redis://127.0.0.1:${stopped.port}`, SILENT],
    'behind a half-open link': [proxy.url, SILENT],
    'wrong password': [`redis://:hunter2@127.0.0.1:${guarded.port}`, /WRONGPASS/],
    'wrong user': [`redis://ops:hunter2@127.0.0.1:${guarded.port}`, /WRONGPASS/],
    'no password': [guarded.url, /NOAUTH/],
    'TLS to a plain port': [`rediss://ops:hunter2@127.0.0.1:${server.port}`, /no connection/]
  }
  await Promise.all(Object.entries(cases)
    .flatMap(([name, [url, words]]) => ['status', 'on', 'off'].map(async command => {
      const { code, out, err, took } = await run([command, 'shop', 'blog', '--store', url])
      t.equal(code, 1, `${command}: ${name}: ${err}`)
      t.equal(out, '')
      t.match(err, /^fastify-maintenance: [^\n]+\n$/)
      t.match(err, words)
      t.notMatch(err, /hunter2/)
      t.comment(`after ${took} ms`)
    })))
  for (const store of [
    'redis://ops:hunter2@:x',
    'redis://ops:hunter2@127.0.0.1:999999',
    'redis://:hunter2%zz@127.0.0.1',
    'redis://ops:12/hunter2@127.0.0.1',
    'redis://ops:12?hunter2@127.0.0.1'
  ]) {
    const { code, err } = await run(['status', '--store', store])
    t.equal(code, 2, store)
    t.notMatch(err, /hunter2/, store)
  }
})

t.test('a database that cannot be selected: no connection, and no write to another one', async t => {
  const own1 = await startRedis(t)
  await own1.client.call('ACL', 'SETUSER', 'noselect', 'reset', 'on', '>secret', '~*', '&*', '+@all', '-select')
  for (const [url, words] of [
    [`${own1.url}/99`, /DB index is out of range/],
    [`redis://noselect:secret@127.0.0.1:${own1.port}/3`, /NOPERM .*select/]
  ] as const) {
    t.match(await run(['on', '--store', url]), { code: 1, out: '', err: words })
    const { maintenance } = await boot(t, { redis: url })
    t.match(maintenance.status(), { source: 'unknown', store: { connected: false, error: words } })
    await t.rejects(maintenance.set(true), { code: 'FST_ERR_MAINTENANCE_STORE', message: words })
  }
  t.strictSame(await own1.client.keys('*'), [])
})

t.test('the command exits', async t => {
  const { redis, prefix } = own()
  const child = spawn(process.execPath, [
    '--import', 'tsx', 'lib/cli/bin.ts', 'on', '--force', '--store', redis, '--prefix', prefix
  ], {
    env: {
      PATH: process.env.PATH, MAINTENANCE_IOREDIS: process.env.MAINTENANCE_IOREDIS, _TAPJS_PROCESSINFO_COVERAGE_: '0'
    },
    stdio: 'ignore'
  })
  t.teardown(() => child.kill('SIGKILL'))
  t.strictSame(await once(child, 'exit'), [0, null])
  t.match(await server.client.hget(`${prefix}{default}`, 'record'), /"kind":"now"/)
})
