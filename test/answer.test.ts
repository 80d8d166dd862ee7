import cors from '@fastify/cors'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect as connectHttp2 } from 'node:http2'
import t from 'tap'
import maintenance from '../index.ts'
import { negotiate } from '../lib/answer/negotiate.ts'
import type { FastifyMaintenanceOptions, MaintenanceChange } from '../types/index.ts'
import { bareApp, createApp, sendRaw } from './fixtures/app.ts'

t.test('negotiation: specificity, weights, exclusion, ties', async t => {
  const cases: [string | undefined, string][] = [
    [undefined, 'json'], ['', 'json'], ['*/*', 'json'], ['image/webp', 'json'], ['image/webp,*/*', 'json'],
    ['text/html', 'html'], ['TEXT/HTML', 'html'], ['text/*', 'html'], ['text/plain', 'text'], ['application/*', 'json'],
    ['application/json', 'json'], ['application/problem+json', 'problem'], ['application/problem+json, application/json', 'json'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8', 'html'],
    ['application/json, text/plain, */*', 'json'], ['text/plain, */*', 'text'], ['text/html, */*', 'html'],
    ['text/html;q=0.5, application/json;q=0.9', 'json'], ['text/html;q=0.9, application/json;q=0.5', 'html'],
    ['text/html;q=0.5, text/*;q=0.8', 'text'], ['text/html;q=0.4, */*;q=0.8', 'json'],
    ['text/html;q=0, */*', 'json'], ['application/json;q=0, */*', 'html'], ['application/json;q=0, text/html;q=0, */*', 'problem'],
    ['*/*;q=0', 'json'], ['text/html;q=0', 'json'], ['text/html; level=1 ; q=0.7, text/plain;q=0.6', 'html'],
    ['text/html;q=abc', 'json'], ['text/html;q=2', 'json'], ['text/html;q=-1', 'json'], [';;;,,,', 'json']
  ]
  for (const [accept, format] of cases) {
    t.equal(negotiate(accept), format, String(accept))
    t.equal(negotiate(accept), format, 'and when seen before')
  }
})

t.test('negotiation: a flood of different headers is answered, and bounded in memory', async t => {
  for (let i = 0; i < 3000; i++) negotiate(`text/html;v=${i}`)
  t.equal(negotiate('text/plain'), 'text')
  t.equal(negotiate('text/html,'.repeat(2000)), 'html', 'a header too long to be remembered')
})

async function refusal (t: Parameters<typeof createApp>[0], options: FastifyMaintenanceOptions, change: MaintenanceChange, accept?: string) {
  const { app } = await createApp(t, options)
  await app.maintenance.set(true, change)
  return app.inject({ url: '/', headers: accept === undefined ? {} : { accept } })
}

t.test('JSON, problem, text: the exact bodies', async t => {
  const json = await refusal(t, {}, {})
  t.equal(json.statusCode, 503)
  t.equal(json.body, '{"statusCode":503,"code":"FST_ERR_MAINTENANCE","error":"Service Unavailable","message":"The site is being maintained. It will be back shortly.","retryAfter":300,"endsAt":null}')
  t.match(json.headers, { 'content-type': 'application/json; charset=utf-8', 'retry-after': '300', 'cache-control': 'no-store', vary: 'Accept', 'maintenance-mode': 'full' })
  t.equal(json.headers['content-length'], String(Buffer.byteLength(json.body)))
  t.notOk('etag' in json.headers)

  const problem = await refusal(t, {}, { message: 'Größer' }, 'application/problem+json')
  t.match(problem.headers['content-type'], /^application\/problem\+json/)
  t.strictSame(problem.json(), { type: 'about:blank', title: 'Service Unavailable', status: 503, detail: 'Größer', code: 'FST_ERR_MAINTENANCE', retryAfter: 300, endsAt: null })

  const endsAt = new Date(Date.now() + 90_000)
  const text = await refusal(t, {}, { message: 'Back soon', endsAt }, 'text/plain')
  t.equal(text.body, `Back soon\nExpected back: ${endsAt.toISOString()}\n`)
  t.equal((await refusal(t, {}, { message: 'x' }, 'text/plain')).body, 'x\n')
})

t.test('HTML: one document that loads nothing, with everything escaped', async t => {
  const message = '<script>alert(1)</script> & "quotes"\nsecond line <%= process.version %>'
  const { headers, body } = await refusal(t, {}, { message, endsAt: new Date(Date.now() + 60_000) }, 'text/html')
  t.equal(headers['content-type'], 'text/html; charset=utf-8')
  t.match(headers['content-security-policy'], /^default-src 'none'; style-src 'sha256-.{44}'; .*frame-ancestors 'none'$/)
  t.notMatch(body, /<script|src=|href=|process\.version %>alert|v20\./)
  t.match(body, '&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot;\nsecond line &lt;%= process.version %&gt;')
  t.match(body, /<time datetime="/)
  t.match((await refusal(t, {}, { mode: 'read-only' }, 'text/html')).statusCode, 404, 'reads pass')
})

t.test('Retry-After: the end of the window, the record, the option, or none', async t => {
  const retryAfter = async (options: FastifyMaintenanceOptions, change: MaintenanceChange) => {
    const answer = await refusal(t, options, change)
    t.equal(answer.json().retryAfter, answer.headers['retry-after'] === undefined ? null : Number(answer.headers['retry-after']))
    return answer.headers['retry-after']
  }
  t.equal(await retryAfter({}, {}), '300')
  t.equal(await retryAfter({ response: { retryAfter: 60 } }, {}), '60')
  t.equal(await retryAfter({ response: { retryAfter: false } }, {}), undefined)
  t.equal(await retryAfter({ response: { retryAfter: 60 } }, { retryAfter: 7 }), '7')
  t.equal(await retryAfter({ response: { retryAfter: false } }, { retryAfter: 7, endsAt: new Date(Date.now() + 120_500) }), '121')
  t.equal(await retryAfter({}, { endsAt: new Date(Date.now() + 400) }), '1', 'never below 1')
})

t.test('Retry-After goes down while the end comes nearer', async t => {
  const { app } = await createApp(t)
  await app.maintenance.set(true, { endsAt: new Date(Date.now() + 600_000) })
  const first = Number((await app.inject('/')).headers['retry-after'])
  const realNow = Date.now
  t.teardown(() => { Date.now = realNow })
  Date.now = () => realNow() + 100_000
  const answer = await app.inject('/')
  t.ok(Math.abs(first - 100 - Number(answer.headers['retry-after'])) <= 1, `${first}, then ${answer.headers['retry-after']}`)
  t.equal(answer.json().retryAfter, Number(answer.headers['retry-after']))
})

t.test("a route that says 'on' answers while the site is open", async t => {
  const { app } = await createApp(t)
  app.get('/legacy', { config: { maintenance: 'on' } }, async () => 'never')
  const answer = await app.inject('/legacy')
  t.match(answer.headers, { 'retry-after': '300', 'maintenance-mode': 'full' })
})

t.test('the response options', async t => {
  const status = await refusal(t, { response: { statusCode: 599, headers: { 'X-Reason': 'upgrade', vary: 'Origin' } } }, {})
  t.equal(status.statusCode, 599)
  t.match(status.json(), { statusCode: 599, error: 'Maintenance' })
  t.match(status.headers, { 'x-reason': 'upgrade', vary: 'Accept, Origin' })
  const refresh = { response: { refresh: 30 } }
  t.equal((await refusal(t, refresh, {}, 'text/html')).headers.refresh, '30')
  t.equal((await refusal(t, refresh, {})).headers.refresh, undefined, 'with HTML only')
  const csp = { response: { headers: { 'Content-Security-Policy': "default-src 'self'" } } }
  t.equal((await refusal(t, csp, {}, 'text/html')).headers['content-security-policy'], "default-src 'self'")
  t.match((await refusal(t, { response: { type: 'text' } }, {}, 'text/html')).headers['content-type'], /^text\/plain/)
  t.match((await refusal(t, { response: { type: () => 'html' } }, {}, 'application/json')).headers['content-type'], /^text\/html/)
  t.match((await refusal(t, { response: { type: () => 'pdf' as 'html' } }, {}, 'text/plain')).headers['content-type'], /^text\/plain/)
  t.match((await refusal(t, { response: { type: () => { throw new Error('no') } } }, {}, 'text/plain')).headers['content-type'], /^text\/plain/)
})

t.test('HEAD: the same headers, no body; keep-alive stays', async t => {
  const { app } = await createApp(t)
  await app.maintenance.set(true)
  const answer = await sendRaw(app, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const [head, rest] = answer.split('HTTP/1.1 503 Service Unavailable').slice(1)
  t.match(head, /\r\nConnection: keep-alive\r\n/i)
  t.match(head, /content-length: 175\r\n/)
  t.ok(head?.endsWith('\r\n\r\n'))
  t.match(rest, /"statusCode":503/)
})

t.test('headers of earlier hooks are kept, ours win, lists are joined', async t => {
  const { app } = bareApp(t)
  await app.register(cors, { origin: true, exposedHeaders: ['X-Total'] })
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers({ 'x-request-id': 'r1', etag: '"x"', 'cache-control': 'public', 'last-modified': 'x', 'set-cookie': ['a=1', 'b=2'] })
  })
  await app.register(maintenance)
  await app.maintenance.set(true)
  const { headers } = await app.inject({ url: '/', headers: { origin: 'https://a.example', 'if-none-match': '"x"', range: 'bytes=0-1' } })
  t.match(headers, {
    'x-request-id': 'r1',
    'cache-control': 'no-store',
    'access-control-allow-origin': 'https://a.example',
    'access-control-expose-headers': 'Retry-After, Maintenance-Mode, X-Total',
    vary: 'Accept, Origin',
    'set-cookie': ['a=1', 'b=2']
  })
  t.notOk('etag' in headers || 'last-modified' in headers)
})

t.test('an upgrade gets the 503, and its socket is closed', async t => {
  const { app } = await createApp(t)
  await app.maintenance.set(true)
  const handshake = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  t.match(await sendRaw(app, handshake), /^HTTP\/1\.1 503 [^]*connection: close\r\n[^]*"statusCode":503/i)
  t.equal(await new Promise(resolve => app.server.getConnections((_error, count) => resolve(count))), 0)
})

t.test('HTTP/2: the 503, without connection headers', async t => {
  const { app } = bareApp(t, { http2: true, forceCloseConnections: false } as object)
  await app.register(maintenance)
  await app.maintenance.set(true)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const warnings: string[] = []
  const onWarning = (warning: Error) => { warnings.push(warning.name) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const client = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => client.close())
  const stream = client.request({ ':path': '/', accept: 'text/plain' })
  const [headers] = await once(stream, 'response')
  t.match(headers, { ':status': 503, 'retry-after': '300' })
  let body = ''
  for await (const chunk of stream) body += chunk
  t.match(body, /being maintained/)
  t.strictSame(warnings.filter(name => name === 'UnsupportedWarning'), [])
  client.close()
})
