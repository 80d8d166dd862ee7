import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { main } from '../lib/cli/main.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import { VERSION } from '../lib/util/version.ts'
import { createApp, until } from './fixtures/app.ts'

async function run (args: string[], env: NodeJS.ProcessEnv = {}) {
  let out = ''
  let err = ''
  const code = await main(args, env, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

t.test('on, status, off: what is printed, and the exit codes', async t => {
  const store = ['--store', `file:${join(t.testdir(), 'state.json')}`]
  t.strictSame(await run(['status', ...store]), { code: 0, out: 'default: open (no maintenance recorded)\n', err: '' })
  const on = await run(['on', ...store, '--message', 'Back soon', '--mode', 'read-only', '--for', '1h30m', '--retry-after', '60', '--ignore-route', '/a', '--ignore-route', '/b/*', '--by', 'ops'])
  t.equal(on.code, 0)
  t.match(on.out, /^default: closed \(read-only\) since \S+Z until \S+Z, by ops\n {2}message: Back soon\n {2}let through as well: \/a, \/b\/\*\n$/)
  const status = await run(['status', ...store])
  t.strictSame([status.code, status.out], [4, on.out])
  const json = JSON.parse((await run(['status', ...store, '--json'])).out)
  t.match(json, { site: 'default', on: true, active: true, mode: 'read-only', message: 'Back soon', retryAfter: 60, by: 'ops', startsAt: null, ignoreRoutes: [{ pattern: '/a', description: null }, { pattern: '/b/*' }] })
  t.ok(Math.abs(Date.parse(json.endsAt) - Date.now() - 5_400_000) < 10_000)
  t.match(await run(['off', ...store, '--by', 'ops']), { code: 0, out: /^default: open since \S+Z, by ops\n$/, err: "fastify-maintenance: warning: no running server uses site 'default'\n" })
  t.match(await run(['status', ...store, '--json']), { code: 0, out: /"active": false/ })
})

t.test('windows: ahead, counted from the start, and over', async t => {
  const file = join(t.testdir(), 'state.json')
  const store = ['--store', `file:${file}`]
  const ahead = await run(['on', ...store, '--starts-at', '2999-01-01T00:00:00+01:00', '--for', '2d', '--json'])
  t.match(JSON.parse(ahead.out), { on: true, active: false, startsAt: '2998-12-31T23:00:00.000Z', endsAt: '2999-01-02T23:00:00.000Z' })
  t.match(await run(['status', ...store]), { code: 0, out: 'default: open, will be closed (full) from 2998-12-31T23:00:00.000Z until 2999-01-02T23:00:00.000Z\n' })
  t.match(await run(['on', ...store, '--ends-at', new Date(Date.now() + 1000).toISOString()]), { code: 0, out: /closed \(full\) since .* until/ })
  await until('over', async () => (await run(['status', ...store])).code === 0)
  t.match(await run(['status', ...store]), { out: /^default: open since \S+Z, when the maintenance ended\n$/ })
})

t.test('several sites in one go', async t => {
  const env = { MAINTENANCE_STORE: pathToFileURL(join(t.testdir(), 'state.json')).href }
  const on = await run(['on', 'shop', 'blog', 'shop', '--json'], env)
  t.strictSame(JSON.parse(on.out).map((state: { site: string, active: boolean }) => [state.site, state.active]), [['shop', true], ['blog', true]])
  await run(['off', 'blog'], env)
  t.match(await run(['status', 'blog', 'news'], env), { code: 0, out: /^blog: open since .*\nnews: open \(no maintenance/ })
  t.match(await run(['status', 'blog', 'shop'], env), { code: 4 })
})

t.test('history: who switched what, newest first', async t => {
  const store = ['--store', `file:${join(t.testdir(), 'state.json')}`]
  t.strictSame(await run(['history', ...store]), { code: 0, out: '', err: '' })
  await run(['on', ...store, '--by', 'ann', '--message', 'a\u001bb', '--starts-at', '2999-01-01T00:00Z', '--for', '1h'])
  await run(['off', ...store, '--by', 'bob'])
  await run(['off', ...store])
  const lines = (await run(['history', ...store])).out.split('\n')
  t.match(lines[0], /^\S+Z {2}off$/)
  t.match(lines[1], /^\S+Z {2}off, by bob$/)
  t.match(lines[2], /^\S+Z {2}on \(full\) from 2999-01-01T00:00:00.000Z until 2999-01-01T01:00:00.000Z, by ann: a\\u001bb$/)
  const entries = JSON.parse((await run(['history', 'default', ...store, '--json'])).out)
  t.strictSame(entries.map((entry: { by: string | null }) => entry.by), [null, 'bob', 'ann'])
  t.match(entries[2], { on: true, mode: 'full', message: 'a\u001bb', startsAt: '2999-01-01T00:00:00.000Z' })
  t.match(await run(['history', 'a', 'b', ...store]), { code: 2, err: /'history' takes one site/ })
  t.match(await run(['history', '--store', 'redis://127.0.0.1:1']), { code: 1, out: '', err: /ECONNREFUSED/ })
})

t.test('wrong use: exit 2, nothing changed, one readable line', async t => {
  const file = join(t.testdir(), 'state.json')
  const cases: [string[], RegExp][] = [
    [[], /no command/],
    [['close'], /unknown command 'close'/],
    [['constructor'], /unknown command 'constructor'/],
    [['on', '--massage', 'x'], /'--massage'/],
    [['on', '--message'], /--message/],
    [['off', '--message', 'x'], /'off' has no option --message/],
    [['status', '--by', 'x'], /'status' has no option --by/],
    [['on', 'a b'], /site 'a b': expected a name/],
    [['on', 'ok', '../x'], /site '..\/x'/],
    [['on', '--starts-at', 'tomorrow'], /--starts-at is 'tomorrow', expected a Date, or ISO 8601 with a zone/],
    [['on', '--ends-at', '2001-01-01T00:00:00Z'], /--ends-at is '2001-01-01T00:00:00.000Z', expected a time in the future/],
    [['on', '--ends-at', '2999-01-01T00:00:00Z', '--for', '1h'], /--for and --ends-at/],
    [['on', '--for', '90'], /--for is '90', expected a duration such as 90s/],
    [['on', '--for', '0m'], /--for is '0m'/],
    [['on', '--for', '999999999d'], /--for is '999999999d', expected a duration such as/],
    [['on', '--for', '1h', '--starts-at', 'x'], /--starts-at is 'x'/],
    [['on', '--retry-after', 'soon'], /--retry-after is NaN/],
    [['on', '--retry-after', '0'], /--retry-after is 0/],
    [['on', '--mode', 'half'], /--mode is 'half', expected 'full' or 'read-only' or 'hold'/],
    [['on', '--message', ''], /--message is ''/],
    [['on', '--ignore-route', 'x'], /--ignore-route is 'x', expected a path/],
    [['on', '--by', ''], /--by is ''/]
  ]
  for (const [args, message] of cases) {
    const result = await run([...args, '--json'], { MAINTENANCE_STORE: `file:${file}` })
    t.match(result, { code: 2, out: '', err: message }, args.join(' '))
    t.match(result.err, /^fastify-maintenance: [^\n]*\nfastify-maintenance --help shows how it is used\n$/)
  }
  t.notOk(existsSync(file))
  for (const store of [undefined, '', 'file:', 'redis:localhost', 'http://x', './state.json', 'file://host/x']) {
    t.match(await run(['status'], store === undefined ? {} : { MAINTENANCE_STORE: store }), { code: 2, out: '', err: /expected redis:.*file:PATH/ }, String(store))
  }
  t.match(await run(['status', '--store', 'http://user:secret@host']), { code: 2, err: /the store is an address of http:\/\/, expected/ })
  t.match(await run(['status', '--store', './state.json']), { code: 2, err: /did you mean 'file:\.\/state\.json'/ })
  t.match(await run(['status', '--store', 'redis://127.0.0.1:1', '--prefix', 'y']), { code: 1, err: /ECONNREFUSED/ })
  t.match(await run(['status', '--store', 'file:x', '--prefix', 'y']), { code: 2, err: /--prefix is for a Redis store/ })
})

t.test('a store that fails: exit 1, nothing on stdout', async t => {
  const dir = t.testdir({ garbage: '{', folder: {} })
  const missing = await run(['status', '--store', `file:${dir}/no/where.json`, '--json'])
  t.match(missing, { code: 1, out: '', err: /^fastify-maintenance: ENOENT.*\n$/ })
  t.match(await run(['on', '--store', `file:${dir}/no/where.json`]), { code: 1, out: '', err: /ENOENT/ })
  t.match(await run(['status', '--store', `file:${dir}/garbage`]), { code: 1, out: '', err: /the state of site 'default' cannot be understood: the state file is no JSON/ })
  t.match(await run(['on', '--store', `file:${dir}/folder`]), { code: 1, out: '', err: /site 'default': the store failed, nothing was changed: .* is no regular file/ })
  t.match(await run(['off', '--store', `file:${dir}/garbage`]), { code: 0 }, 'off repairs what cannot be understood')
  t.match(await run(['status', '--store', `file:${dir}/garbage`]), { code: 0, out: /^default: open since/ })
})

t.test('several sites, and the store fails between them: the error says how far it came', async t => {
  const file = join(t.testdir(), 'state.json')
  const store = ['--store', `file:${file}`]
  await run(['on', 'big', ...store, ...Array.from({ length: 94 }, (_, i) => ['--ignore-route', `/${i}${'x'.repeat(5000)}`]).flat()])
  const result = await run(['on', 'small', 'big2', ...store, ...Array.from({ length: 94 }, (_, i) => ['--ignore-route', `/${i}${'x'.repeat(5000)}`]).flat()])
  t.match(result, { code: 1, out: '', err: /site 'big2': the store failed, nothing was changed: the state of all sites would be larger than 1048576 bytes; changed before: small/ })
})

t.test('stored text does not steer the terminal', async t => {
  const store = ['--store', `file:${join(t.testdir(), 'state.json')}`]
  t.match(await run(['on', ...store, '--message', 'a\u001b[2Jb\nc\u202e']), { out: /message: a\\u001b\[2Jb\\u000ac\\u202e\n$/ })
})

t.test('stored text is escaped on stderr and in JSON, too', async t => {
  const file = join(t.testdir(), 'state.json')
  const store = ['--store', `file:${file}`]
  const odd = 'a\u001b]0;t\u0007\u009b2J\u061c\u200e\u202e\u2066\ufeff\u2028b'
  // eslint-disable-next-line no-control-regex -- what a terminal must not be sent
  const acting = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/
  for (const record of [odd, JSON.stringify({ [odd]: 1 }), JSON.stringify({ v: odd })]) {
    for (const text of [record, JSON.stringify({ v: 1, sites: { default: { revision: 1, record } } }), JSON.stringify({ v: 1, sites: { default: { [odd]: odd } } })]) {
      writeFileSync(file, text)
      const { code, out, err } = await run(['status', ...store])
      t.equal(code, 1)
      t.notMatch(out + err, acting)
    }
  }
  for (const args of [['status', odd], [odd], ['on', `--${odd}`], ['on', '--mode', odd]]) t.notMatch((await run([...args, ...store])).err, acting)
  writeFileSync(file, '')
  const message = 'a\u009b2J\u202e\ufeff'
  const json = await run(['on', ...store, '--message', message, '--json'])
  t.notMatch(json.out, acting)
  t.equal(JSON.parse(json.out).message, message, 'and it is the same message')
})

t.test('slips: the command and the option that were meant; a password at the wrong place is not shown', async t => {
  t.match(await run(['staus']), { code: 2, err: /unknown command 'staus'. Did you mean status\?/ })
  t.match(await run(['on', '--massage', 'x']), { code: 2, err: /unknown option '--massage'. Did you mean --message\?\n/ })
  t.match(await run(['on', '--zzzzzz']), { code: 2, err: /unknown option '--zzzzzz'\n/ })
  const addresses = ['redis:/user:S3cret@host', 'http://user:S3cret@host', 'redis://user:a/S3cret@host', 'rediss://h:S3cret', 'user:S3cret@host', 'S3cret', 'redis//:p "S3cret\'@h']
  for (const address of addresses) {
    for (const [args, env] of [[['status', '--store', address], {}], [['status'], { MAINTENANCE_STORE: address }], [['status', `--stor=${address}`], {}]] as const) {
      const { code, out, err } = await run([...args], env)
      t.equal(code, 2)
      t.notMatch(out + err, 'S3cret')
    }
  }
  for (const args of [['redis://user:S3 cret@host'], ['status', 'redis://h?password=S3cret']]) t.notMatch((await run(args)).err, /S3|cret/)
})

t.test('help and version', async t => {
  t.match(await run(['--help']), { code: 0, out: /fastify-maintenance on \[site…\]/, err: '' })
  t.match(await run(['on', '--help']), { code: 0, out: /Exit codes/ })
  t.match(await run(['--version']), { code: 0, out: `${VERSION}\n` })
})

/* eslint-disable no-control-regex -- what a terminal is sent */

/** How a server names itself in what is printed. */
const SERVER = `\\S+ \\(process ${process.pid}\\)`

t.test('--wait: when every server has followed and nothing runs: safe to proceed', async t => {
  const file = join(t.testdir(), 'state.json')
  const env = { MAINTENANCE_STORE: `file:${file}` }
  const { app } = await createApp(t, { store: { file } })
  let answer = () => {}
  app.post('/order', () => new Promise<void>(resolve => { answer = resolve }))
  await app.ready()
  app.inject({ method: 'POST', url: '/order' }).catch(() => {})
  await until('it runs', () => app.maintenance.status().inFlight === 1)

  const late = await run(['on', '--wait=1s'], env)
  t.match(late, { code: 3, out: /^default: closed \(full\) since \S+\n(1 of 1 server closed, 1 request running\n|0 of 1 server closed, 1 request running\n)+$/ })
  t.equal(new Set(late.out.split('\n')).size, late.out.split('\n').length, 'no line twice')
  t.match(late.err, new RegExp(`^fastify-maintenance: site 'default': not ready after 1000 ms, but the change stands: ${SERVER} runs 1 × POST /order, last seen at \\S+Z\\n$`))
  const json = await run(['on', '--wait=1s', '--json'], env)
  t.equal(json.code, 3)
  t.match(JSON.parse(json.out), { site: 'default', active: true, safe: false, servers: [{ pid: process.pid, inFlight: 1, holding: { 'POST /order': 1 } }] })

  const waiting = run(['on', '--wait'], env)
  await until('the change is there', async () => /"revision"/.test((await run(['status', '--json'], env)).out))
  answer()
  t.match(await waiting, { code: 0, out: /\n1 of 1 server closed, 0 requests running: safe to proceed\n$/, err: '' })
  t.match(JSON.parse((await run(['on', '--wait', '--json'], env)).out), { safe: true, servers: [{ active: true, inFlight: 0 }] })
  t.match(await run(['off', '--wait'], env), { code: 0, out: /\n1 of 1 server open\n$/, err: '' })
  t.notOk('safe' in JSON.parse((await run(['off', '--json'], env)).out))
})

t.test('--wait: several sites as one, what is pinned, who is gone, and nobody at all', async t => {
  const file = join(t.testdir(), 'state.json')
  const env = { MAINTENANCE_STORE: `file:${file}` }
  await (await createApp(t, { store: { file }, site: 'shop', sites: ['shop', 'blog'] })).app.ready()
  await (await createApp(t, { store: { file }, site: 'blog', pinned: 'open' })).app.ready()
  const on = await run(['on', 'shop', 'blog', '--wait'], env)
  t.match(on, { code: 0, err: '' })
  t.match(on.out, new RegExp(`\\n2 of 2 servers closed, 0 requests running: safe to proceed\\n {2}${SERVER} is pinned open by its option 'enabled', and was not waited for\\n$`))
  t.match(JSON.parse((await run(['off', 'shop', 'blog', '--wait', '--json'], env)).out), [{ site: 'shop', safe: true }, { site: 'blog', safe: true }])
  await (await createApp(t, { store: { file }, site: 'news', pinned: 'closed' })).app.ready()
  t.match(await run(['off', 'news', '--wait'], env), { code: 0, out: /\n0 of 0 servers open\n {2}.* is pinned closed by its option 'enabled', and was not waited for\n$/ })
  t.match(await run(['on', 'news', '--wait'], env), { code: 0, out: /\n0 of 0 servers closed, 0 requests running: safe to proceed\n$/ }, 'as it should be')
  t.match(await run(['on', 'shopp', '--wait'], env), { code: 0, out: /\n0 of 0 servers closed, 0 requests running\n$/, err: "fastify-maintenance: warning: no running server uses site 'shopp'\n" })
  t.match(JSON.parse((await run(['on', 'shopp', '--wait', '--json'], env)).out), { safe: false, servers: [] }, 'nobody says so')
  t.match(await run(['on', 'shopp', 'shop'], env), { code: 0, err: "fastify-maintenance: warning: no running server uses site 'shopp'\n" })
})

t.test('--wait: a bar on a terminal', async t => {
  const file = join(t.testdir(), 'state.json')
  const { app } = await createApp(t, { store: { file } })
  let answer = () => {}
  app.get('/slow', () => new Promise<void>(resolve => { answer = resolve }))
  await app.ready()
  const onTerminal = async (...args: string[]) => {
    let out = ''
    let err = ''
    const code = await main([...args, '--store', `file:${file}`], {}, { out: text => { out += text }, err: text => { err += text }, terminal: true })
    return { code, out: out.slice(out.indexOf('\n') + 1), err }
  }
  app.inject('/slow').catch(() => {})
  await until('it runs', () => app.maintenance.status().inFlight === 1)
  const late = await onTerminal('on', '--wait=1s')
  t.match(late, { code: 3, err: /not ready/ })
  t.match(late.out, /^(\r\u001b\[K\[\.{20}\] [01] of 1 server closed, 1 request running)+\n$/, 'the error begins on a line of its own')
  answer()
  const on = await onTerminal('on', '--wait')
  t.match(on, { code: 0, err: '' })
  t.match(on.out, /\r\u001b\[K1 of 1 server closed, 0 requests running: safe to proceed\n$/)
})

t.test('--wait: wrong use', async t => {
  const file = join(t.testdir(), 'state.json')
  for (const [args, message] of [
    [['on', '--wait=soon'], /--wait is 'soon', expected a duration such as/],
    [['on', '--wait='], /--wait is ''/],
    [['on', '--wait=25h'], /--wait is '25h', expected .*, at most a day/],
    [['on', '--wait', '60s'], /use --wait=60s/],
    [['on', '--wait', '30'], /--wait=30/],
    [['status', '--wait'], /'status' has no option --wait/],
    [['on', '--watch'], /'on' has no option --watch/],
    [['servers', 'a', 'b'], /'servers' takes one site/]
  ] as [string[], RegExp][]) {
    t.match(await run(args, { MAINTENANCE_STORE: `file:${file}` }), { code: 2, out: '', err: message }, args.join(' '))
  }
  t.notOk(existsSync(file))
  t.match(await run(['on', '30s', '--wait', 'shop'], { MAINTENANCE_STORE: `file:${file}` }), { code: 0, out: /^30s: closed.*\nshop: closed/ }, 'a site may be called like a time')
})

t.test('servers: who is there, and what still runs', async t => {
  const file = join(t.testdir(), 'state.json')
  const env = { MAINTENANCE_STORE: `file:${file}` }
  t.strictSame(await run(['servers'], env), { code: 0, out: '', err: '' })
  const { app } = await createApp(t, { store: { file } })
  const answers: (() => void)[] = []
  app.get('/slow', () => new Promise<void>(resolve => { answers.push(resolve) }))
  await app.ready()
  t.match((await run(['servers'], env)).out, new RegExp(`^${SERVER}: open, revision 0, 0 requests and 0 streams running, seen \\d s ago\\n$`))
  app.inject('/slow').catch(() => {})
  await until('it runs', () => answers.length === 1)
  await app.maintenance.set(true, { mode: 'read-only' })
  await until('told', async () => /\(from before: 1 × GET \/slow\)/.test((await run(['servers'], env)).out))
  answers[0]?.()
  app.inject('/slow').catch(() => {})
  await until('another runs', () => answers.length === 2)
  await until('told', async () => /: closed, revision \d+, 1 request and 0 streams running \(from before: none\), seen/.test((await run(['servers'], env)).out))
  answers[1]?.()
  const [server] = JSON.parse((await run(['servers', '--json'], env)).out)
  t.match(server, { site: 'default', pid: process.pid, active: true, pinned: false })

  // somebody else, who was not heard of for a while, with a name that would steer the terminal
  const other = { ...server, id: 'other', host: 'a\u001bb', pid: 7, pinned: true, seenAt: new Date(Date.now() - 9000).toISOString() }
  await createFileServers(file).beat('default', 'other', JSON.stringify(other), 60_000)
  t.match((await run(['servers', 'default'], env)).out, /a\\u001bb \(process 7\): closed \(pinned\), revision \d+, .* running.*, silent for (9|1\d) s: it died, or cannot reach the store\n/)
  t.match(await run(['servers', '--store', 'redis://127.0.0.1:1']), { code: 1, out: '', err: /ECONNREFUSED/ })
})

t.test('status --watch: every change, until it is interrupted', async t => {
  const file = join(t.testdir(), 'state.json')
  const env = { MAINTENANCE_STORE: `file:${file}` }
  const watch = (args: string[], terminal = false) => {
    const abort = new AbortController()
    const seen = { out: '', err: '', abort: () => abort.abort() }
    const code = main(['status', '--watch', ...args], env, { out: text => { seen.out += text }, err: text => { seen.err += text }, terminal, signal: abort.signal })
    return Object.assign(seen, { code })
  }
  const views = [watch([]), watch([], true), watch(['--json', 'default', 'blog']), watch(['--json'], true)] as const
  const [lines, terminal, documents, single] = views
  await until('all begin', () => views.every(({ out }) => out.includes('\n')))
  t.equal(lines.out, 'default: open (no maintenance recorded)\n')
  await run(['on', '--message', 'Moving'], env)
  await until('all have seen it', () => views.every(({ out }) => out.includes('Moving')))
  t.match(lines.out, /^default: open \(no maintenance recorded\)\ndefault: closed \(full\) since \S+\n {2}message: Moving\n$/)
  t.match(terminal.out, /^default: open \(no maintenance recorded\)\n\u001b\[1A\u001b\[Jdefault: closed \(full\) since \S+\n {2}message: Moving\n$/)
  t.strictSame(documents.out.trim().split('\n').map(line => JSON.parse(line)).map(({ site, active }) => [site, active]), [['default', false], ['blog', false], ['default', true], ['blog', false]])
  t.equal(single.out.trim().split('\n').length, 2)
  t.notOk(single.out.includes('\u001b'))

  const whole = readFileSync(file)
  writeFileSync(file, 'garbage')
  await until('told', () => views.every(({ err }) => err !== ''))
  const told = lines.err
  t.match(told, /^fastify-maintenance: the state of site 'default' cannot be understood: .*\n$/)
  const shown = lines.out
  await sleep(1200)
  t.strictSame([lines.out, lines.err], [shown, told], 'once')
  writeFileSync(file, whole)
  await run(['off'], env)
  await until('it goes on', () => views.every(({ out }) => /open since|"active":false[^]*"active":true[^]*"active":false/.test(out)))
  t.match(terminal.out, /\u001b\[2A\u001b\[Jdefault: open since \S+\n$/)
  await run(['on'], env)
  await until('closed', () => lines.out.endsWith('closed (full) since ' + (/closed \(full\) since (\S+)\n$/.exec(lines.out)?.[1] ?? '?') + '\n'))
  for (const view of views) view.abort()
  t.equal(await lines.code, 4)
  await Promise.all(views.map(({ code }) => code))

  writeFileSync(file, 'garbage')
  t.match(await watch([]).code, 1, 'a store that fails at once')
})

t.test('status --watch: Ctrl-C, and a reader who has gone', async t => {
  const file = join(t.testdir(), 'state.json')
  await run(['on'], { MAINTENANCE_STORE: `file:${file}` })
  const start = () => spawn(process.execPath, ['dist/lib/cli/bin.js', 'status', '--watch', '--store', `file:${file}`], { stdio: ['ignore', 'pipe', 'pipe'] })
  const watching = start()
  t.match(String((await once(watching.stdout, 'data'))[0]), /^default: closed/)
  watching.kill('SIGINT')
  t.strictSame(await once(watching, 'exit'), [4, null])
  const piped = start()
  const exited = once(piped, 'exit')
  let err = ''
  piped.stderr.on('data', chunk => { err += chunk })
  await once(piped.stdout, 'data')
  piped.stdout.destroy()
  await run(['off'], { MAINTENANCE_STORE: `file:${file}` })
  await exited
  t.equal(err, '')
})

t.test('the command itself, against a server that runs', async t => {
  const file = join(t.testdir(), 'state.json')
  const { app } = await createApp(t, { store: { file } })
  const command = (...args: string[]) => promisify(execFile)(process.execPath, ['dist/lib/cli/bin.js', ...args], { env: { ...process.env, MAINTENANCE_STORE: `file:${file}` } })
  t.match((await command('on')).stdout, /^default: closed \(full\)/)
  await until('the server is closed', () => app.maintenance.active, 1500)
  await t.rejects(command('status'), { code: 4 })
  await command('off')
  await until('the server is open', () => !app.maintenance.active, 1500)
  writeFileSync(file, 'garbage')
  await until('seen', () => app.maintenance.status().store.error !== null)
  t.equal(app.maintenance.active, false)
  await command('on')
  await until('the server is closed', () => app.maintenance.active, 1500)
  t.ok(JSON.parse(readFileSync(file, 'utf8')).sites.default)
})
