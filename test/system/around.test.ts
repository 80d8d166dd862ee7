import { SpanStatusCode } from '@opentelemetry/api'
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { Queue } from 'bullmq'
import type { FastifyInstance } from 'fastify'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createApp as createTraced, withoutBlocked } from '../../examples/opentelemetry/app.ts'
import { createApp as createMeasured } from '../../examples/prometheus/app.ts'
import { startWorker } from '../../examples/queue-worker/worker.ts'
import { createApi as createDocumented } from '../../examples/swagger/app.ts'
import { createApi as createTyped } from '../../examples/typebox/app.ts'
import { createApp as createPressed } from '../../examples/under-pressure/app.ts'
import { until, stateFile } from '../fixtures/app.ts'
import { freePort, startRedis } from '../fixtures/redis.ts'

// Runs every example of docs/around-fastify.md as a user would.

const statusOf = async (app: FastifyInstance, url: string, method: 'GET' | 'POST' = 'GET', payload?: object) =>
  (await app.inject({ method, url, ...(payload === undefined ? {} : { payload }) })).statusCode

/** A server in its own process, with a state file that the command closes and opens. */
async function startProcess (t: Test, args: string[]) {
  const port = await freePort()
  const file = stateFile(t)
  const env = { ...process.env, PORT: String(port), MAINTENANCE_FILE: file, _TAPJS_PROCESSINFO_COVERAGE_: '0' }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(async () => {
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const ask = async (path: string, method = 'GET') => await fetch(`http://127.0.0.1:${port}${path}`, { method })
  const get = async (path: string, method?: string) => (await ask(path, method)).status
  await until('it answers', () => {
    if (child.exitCode !== null) throw new Error(`it exited with ${child.exitCode}`)
    return get('/').then(() => true, () => false)
  }, 60_000)
  const command = (name: 'on' | 'off') =>
    promisify(execFile)(process.execPath, ['dist/lib/cli/bin.js', name, '--store', `file:${file}`], { env })
  return { ask, get, command }
}

t.test('NestJS: RouteConfig and the decorators, on handlers and controllers; no middleware runs for a blocked request', async t => {
  const { ask, get, command } = await startProcess(t, [
    'node_modules/tsx/dist/cli.mjs', '--tsconfig', 'examples/nestjs/tsconfig.json', 'examples/nestjs/main.ts'
  ])
  const all = async () => await Promise.all([
    get('/shop'), get('/shop/about'), get('/shop/imprint'), get('/shop/search', 'POST'), get('/health'),
    get('/health/old'), get('/nowhere')
  ])
  const greeting = async () => (await ask('/shop')).headers.get('x-greeting')
  t.strictSame(await all(), [200, 200, 200, 201, 200, 503, 404])
  t.equal(await greeting(), 'welcome')
  await command('on')
  await until('it is closed', async () => await get('/shop') === 503)
  t.strictSame(await all(), [503, 200, 200, 503, 200, 503, 503])
  t.equal(await greeting(), null)
  await command('off')
  await until('it is open', async () => await get('/shop') === 200)
})

t.test('fastify-cli with autoload: route files with a config', async t => {
  const { get, command } = await startProcess(t, [
    'node_modules/fastify-cli/cli.js', 'start', '-a', '127.0.0.1', '-l', 'error', 'examples/fastify-cli/app.js'
  ])
  t.strictSame([await get('/'), await get('/health')], [200, 200])
  await command('on')
  await until('it is closed', async () => await get('/') === 503)
  t.equal(await get('/health'), 200)
})

t.test('@fastify/swagger: every route that can be blocked documents the 503', async t => {
  const app = await createDocumented()
  t.teardown(() => app.close())
  const { paths } = (await app.inject('/openapi.json')).json()
  t.strictSame(Object.keys(paths['/books'].get.responses), ['200', '503'])
  t.strictSame(Object.keys(paths['/plain'].get.responses), ['503'])
  t.notOk('503' in (paths['/openapi.json'].get.responses ?? {}), 'a route that is never blocked does not')
  const { content, headers } = paths['/books'].get.responses[503]
  t.ok(headers['retry-after'])
  await app.maintenance.set(true, { endsAt: '2099-12-01T03:00:00Z' })
  const answer = await app.inject('/books')
  t.equal(answer.statusCode, 503)
  t.strictSame(Object.keys(answer.json()).sort(), Object.keys(
    content['application/json'].schema.properties
  ).sort(), 'the schema matches the answer')
  t.equal(await statusOf(app, '/openapi.json'), 200)
})

t.test('@fastify/under-pressure: each plugin sends its own 503', async t => {
  let healthy = true
  const app = await createPressed(async () => healthy)
  t.teardown(() => app.close())
  const ask = async (url: string) => {
    const { statusCode, headers, body } = await app.inject(url)
    return [
      statusCode, headers['maintenance-mode'] ?? null, /FST_UNDER_PRESSURE|FST_ERR_MAINTENANCE/.exec(body)?.[0] ?? null
    ]
  }
  t.strictSame([await ask('/'), await ask('/alive')], [[200, null, null], [200, null, null]])
  await app.maintenance.set(true)
  t.strictSame([await ask('/'), await ask('/alive')], [
    [503, 'full', 'FST_ERR_MAINTENANCE'], [200, null, null]
  ], 'closed, and alive')
  healthy = false
  await until('under pressure', async () => await statusOf(app, '/alive') === 503)
  t.strictSame([await ask('/'), await ask('/alive')], [
    [503, 'full', 'FST_ERR_MAINTENANCE'], [503, null, 'FST_UNDER_PRESSURE']
  ], 'both')
  await app.maintenance.set(false)
  await until('under pressure, at its next check', async () => await statusOf(app, '/') === 503)
  t.strictSame(await ask('/'), [503, null, 'FST_UNDER_PRESSURE'])
})

t.test('a type provider: schemas together with config.maintenance', async t => {
  const app = await createTyped()
  t.teardown(() => app.close())
  await app.ready()
  const search = (payload: object) => statusOf(app as unknown as FastifyInstance, '/search', 'POST', payload)
  const order = (payload: object) => statusOf(app as unknown as FastifyInstance, '/orders', 'POST', payload)
  t.strictSame([await search({ text: 'a' }), await search({ text: 1 }), await order({ book: 'b' })], [200, 400, 200])
  await app.maintenance.set(true, { mode: 'read-only' })
  t.strictSame([
    await search({ text: 'a' }), await search({ text: 1 }), await order({ book: 'b' }), await order({})
  ], [200, 400, 503, 503], 'blocked before validation')
})

t.test('a BullMQ worker pauses while the site is closed', async t => {
  const redis = await startRedis(t)
  const connection = { host: '127.0.0.1', port: redis.port }
  const queue = new Queue('mails', { connection })
  t.teardown(() => queue.close())
  const done: string[] = []
  let release = () => {}
  let isSlow = false
  const { app, worker } = await startWorker(connection, async job => {
    isSlow = job.name === 'slow'
    if (isSlow) await new Promise<void>(resolve => { release = resolve })
    done.push(job.name)
  })
  t.teardown(() => app.close())

  await queue.add('first', {})
  await until('the first job is done', () => done.includes('first'))
  await queue.add('slow', {})
  await until('the slow job has begun', () => isSlow)
  await t.rejects(
    app.maintenance.set(true, { wait: 1000 }),
    { code: 'FST_ERR_MAINTENANCE_DRAIN', routes: { 'job slow': 1 } },
    'a wait includes the job'
  )
  t.ok(worker.isPaused())
  release()
  await app.maintenance.set(true, { wait: true })
  await until('the running job is finished', () => done.includes('slow'))
  await queue.add('second', {})
  const late = await startWorker(connection, async job => { done.push(`${job.name}, by the second worker`) })
  t.teardown(() => late.app.close())
  t.ok(late.worker.isPaused(), 'another worker, started while the site is closed')
  t.strictSame([await queue.getWaitingCount(), await queue.getActiveCount(), done], [1, 0, ['first', 'slow']])
  await late.app.close()
  await app.maintenance.set(false)
  await until('the second job is done', () => done.includes('second'))
})

t.test('prom-client and fastify-metrics: open or closed, blocked by reason, let through', async t => {
  const app = await createMeasured()
  t.teardown(() => app.close())
  const read = async () => (await app.inject('/metrics')).body
  t.match(await read(), /^maintenance_active\{site="default"\} 0$/m)
  await app.maintenance.set(true)
  for (const url of ['/', '/', '/about', '/legacy']) await app.inject(url)
  const text = await read()
  for (const line of [
    /^maintenance_active\{site="default"\} 1$/m, /^maintenance_store_connected\{site="default"\} 1$/m,
    /^maintenance_held\{site="default"\} 0$/m,
    /^maintenance_blocked_total\{site="default",reason="active"\} 2$/m,
    /^maintenance_blocked_total\{site="default",reason="route-on"\} 1$/m,
    /^maintenance_let_through_total\{site="default"\} 1$/m,
    /^http_request_duration_seconds_count\{method="GET",route="\/",status_code="503"\} 2$/m
  ]) t.match(text, line)
})

t.test('OpenTelemetry: spans of blocked requests are marked or left out', async t => {
  for (const leaveOut of [false, true]) {
    const exporter = new InMemorySpanExporter()
    const simple = new SimpleSpanProcessor(exporter)
    const app = await createTraced(leaveOut ? withoutBlocked(simple) : simple)
    t.teardown(() => app.close())
    await app.inject('/')
    await app.maintenance.set(true)
    await app.inject('/')
    await app.inject('/about')
    const spans = exporter.getFinishedSpans().filter(({ name }) => name === 'request').map(({ attributes, status }) => [
      attributes['url.path'], attributes['http.response.status_code'], status.code,
      attributes['maintenance.reason'] ?? null, attributes['maintenance.mode'] ?? null
    ])
    const refused = [['/', 503, SpanStatusCode.UNSET, 'active', 'full']]
    t.strictSame(spans, [
      ['/', 200, SpanStatusCode.UNSET, null, null],
      ...(leaveOut ? [] : refused),
      ['/about', 200, SpanStatusCode.UNSET, null, null]
    ])
  }
})

t.test('every piece of code in the documentation is in an example', async t => {
  const lines = (text: string) => text.split('\n').map(line => line.trim()).join('\n')
  const sources = readdirSync('examples', { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile()).map(entry => lines(readFileSync(join(entry.parentPath, entry.name), 'utf8')))
  const pieces = [
    ...readFileSync('docs/around-fastify.md', 'utf8').matchAll(/^```[jt]s\n([^]*?)^```$/gm)
  ].map(([, code = '']) => code)
  t.equal(pieces.length, 23)
  for (const piece of pieces) t.ok(sources.some(source => source.includes(lines(piece))), piece)
})
