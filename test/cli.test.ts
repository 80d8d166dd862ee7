import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { main } from '../lib/cli/main.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import { VERSION } from '../lib/util/version.ts'
import { createApp, retried, stateFile, until } from './fixtures/app.ts'

/** `2026-12-01 03:00 (in 2 hours)` */
const TIME = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d \\([a-z0-9 ]+\\)'

/** The only site of a JSON document. */
const siteIn = async (result: Promise<{ out: string }>) => JSON.parse((await result).out).sites[0]

async function run (args: string[], env: NodeJS.ProcessEnv = {}) {
  let out = ''
  let err = ''
  const code = await main(args, env, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

t.test('on, status, off: output and exit codes', async t => {
  const file = stateFile(t)
  const store = ['--store', `file:${file}`]
  t.strictSame(await run(['status', ...store]), {
    code: 0,
    out: `default: open (nothing stored at ${file})\n  servers: none is running\n  stored in: ${file}\n`,
    err: ''
  })
  const on = await run([
    'on', '--force', ...store, '--message', 'Back soon', '--mode', 'read-only', '--for', '1h30m', '--retry-after',
    '60', '--ignore-route', '/a', '--ignore-route', '/b/*', '--by', 'ops'
  ])
  t.equal(on.code, 0)
  t.match(on.out, new RegExp(
    `^default: closed \\(read-only\\) since ${TIME}, until ${TIME}, last changed by ops\\n {2}message: Back soon\\n {2}let through: /a, /b/\\*\\n {2}stored in: ${file} \\(created\\)\\n$`
  ))
  const status = await run(['status', ...store])
  t.strictSame([status.code, status.out], [
    4, on.out.replace('  stored in', '  servers: none is running\n  stored in').replace(' (created)', '')
  ])
  const json = await siteIn(run(['status', ...store, '--json']))
  t.match(json, {
    site: 'default',
    active: true,
    mode: 'read-only',
    message: 'Back soon',
    retryAfter: 60,
    by: 'ops',
    startsAt: null,
    windows: [{ kind: 'now', ignoreRoutes: [{ pattern: '/a', description: null }, { pattern: '/b/*' }] }],
    servers: []
  })
  t.ok(Math.abs(Date.parse(json.endsAt) - Date.now() - 5_400_000) < 60_000)
  t.match(await run(['off', ...store, '--by', 'ops']), {
    code: 0,
    out: new RegExp(
    `^default: open, last changed ${TIME} by ops\\n`
    ),
    err: `fastify-maintenance: warning: no running server uses site 'default' in ${file}\n`
  })
  t.match(await run(['status', ...store, '--json']), { code: 0, out: /"active": false/ })
})

t.test('windows: planned, counted from their start, and ended', async t => {
  const file = stateFile(t)
  const store = ['--store', `file:${file}`]
  const ahead = await siteIn(
    run(['on', '--force', ...store, '--starts-at', '2999-01-01T00:00:00+01:00', '--for', '2d', '--json'])
  )
  t.match(ahead, {
    active: false,
    windows: [
      { kind: 'planned', active: false, startsAt: '2998-12-31T23:00:00.000Z', endsAt: '2999-01-02T23:00:00.000Z' }
    ]
  })
  t.match(await run(['status', ...store]), {
    code: 0,
    out: new RegExp(
    `^default: open, last changed ${TIME} by \\S+@\\S+\\n {2}planned \\S+: will close \\(full\\) at 299[89]-.*, until 2999-.*, by \\S+\\n`
    )
  })
  t.match(await run(['on', ...store, '--ends-at', new Date(Date.now() + 3000).toISOString()]), {
    code: 0, out: /closed \(full\) since .* until/
  })
  await until('it has ended', async () => (await run(['status', ...store])).code === 0)
  t.match(
    await siteIn(run(['status', ...store, '--json'])),
    { active: false, windows: [{ kind: 'planned' }] },
    'the planned window is kept'
  )
})

t.test('several sites in one command', async t => {
  const env = { MAINTENANCE_STORE: pathToFileURL(stateFile(t)).href }
  const on = await run(['on', '--force', 'shop', 'blog', 'shop', '--json'], env)
  t.strictSame(JSON.parse(on.out).sites.map((
    state: { site: string, active: boolean }
  ) => [state.site, state.active]), [['shop', true], ['blog', true]])
  await run(['off', 'blog'], env)
  t.match(await run(['status', 'blog', 'news'], env), {
    code: 0, out: /^blog: open, last changed [^]*\nnews: open \(nothing stored/
  })
  t.match(await run(['status', 'blog', 'shop'], env), { code: 4 })
})

t.test('history: the changes and their authors, newest first', async t => {
  const store = ['--store', `file:${stateFile(t)}`]
  t.strictSame(await run(['history', ...store]), { code: 0, out: '', err: '' })
  await run([
    'on', '--force', ...store, '--by', 'ann', '--message', 'a\u202eb', '--starts-at', '2999-01-01T00:00Z', '--for', '1h'
  ])
  await run(['on', ...store, '--by', 'ben'])
  await run(['off', ...store, '--by', 'bob'])
  await run(['off', ...store])
  const lines = (await run(['history', ...store])).out.split('\n')
  t.match(lines[0], new RegExp(`^${TIME} {2}changed, by \\S+@\\S+$`))
  t.match(lines[1], new RegExp(`^${TIME} {2}opened, by bob$`))
  t.match(lines[2], new RegExp(`^${TIME} {2}closed \\(full\\), by ben$`))
  t.match(lines[3], new RegExp(`^${TIME} {2}planned \\(full\\) from ${TIME} until ${TIME}, by ann: a\\\\u202eb$`))
  const { history } = await siteIn(run(['history', 'default', ...store, '--json']))
  t.strictSame(history.slice(1).map((entry: { by: string | null }) => entry.by), ['bob', 'ben', 'ann'])
  t.match(history[3], { kind: 'planned', mode: 'full', message: 'a\u202eb', startsAt: '2999-01-01T00:00:00.000Z' })
  t.match(await run(['history', 'a', 'b', ...store]), { code: 2, err: /'history' takes one site/ })
  t.match(await run(['history', '--store', 'redis://127.0.0.1:1']), { code: 1, out: '', err: /ECONNREFUSED/ })
})

t.test('wrong use: exit code 2, no change, one readable line', async t => {
  const file = stateFile(t)
  const cases: [string[], RegExp][] = [
    [[], /no command/],
    [['close'], /unknown command 'close'. Did you mean on\?/],
    [['up'], /unknown command 'up'. Did you mean off\?/],
    [['constructor'], /unknown command 'constructor'/],
    [['help', 'clos'], /unknown command 'clos'/],
    [['on', '--massage', 'x'], /'--massage'/],
    [['on', '--json', '--message'], /--message needs a value/],
    [['on', '--message', '--by'], /--message needs a value; one that begins with a dash is written --message=…/],
    [['on', '--bypass=yes'], /--bypass takes no value/],
    [['on', '--mode', 'full', '--mode', 'hold'], /--mode is given twice/],
    [['on', '--message-lang', 'Bald'], /--message-lang is 'Bald', expected LANG=TEXT/],
    [['off', '--message', 'x'], /'off' has no option --message/],
    [['status', '--by', 'x'], /'status' has no option --by/],
    [['on', 'a b'], /site 'a b': expected a name/],
    [['on', 'ok', '../x'], /site '..\/x'/],
    [['on', '--starts-at', 'tomorrow'], /--starts-at is 'tomorrow', expected ISO 8601 with a zone/],
    [['on', '--ends-at', '2999-01-01T00:00:00Z', '--for', '1h'], /--ends-at and --for mean the same: give one of them/],
    [['on', '--for', '90'], /--for is '90', expected a unit: 90s, 90m, 90h/],
    [['on', '--for', '0m'], /--for is '0m'/],
    [['on', '--for', '999999999d'], /--for is '999999999d', expected a duration such as/],
    [['on', '--for', '1h', '--starts-at', 'x'], /--starts-at is 'x'/],
    [['on', '--retry-after', 'soon'], /--retry-after is 'soon', expected seconds/],
    [['on', '--retry-after', '0'], /--retry-after is 0/],
    [['on', '--mode', 'half'], /--mode is 'half', expected 'full' or 'read-only' or 'hold'/],
    [['on', '--message', ''], /--message is ''/],
    [['on', '--ignore-route', 'x'], /--ignore-route is 'x', expected a path/],
    [['on', '--by', ''], /--by is ''/],
    [['on', '--wait', '--in', '1h'], /--wait has nothing to wait for: the site closes later/],
    [['on', '--wait', '--starts-at', '2999-01-01T00:00Z'], /--wait has nothing to wait for/],
    [['extend'], /'extend' needs a duration or a time: extend 30m/],
    [['extend', '30'], /extend 30: 30 what\? 30m, 30h/],
    [['extend', 'soon'], /extend: 'soon' is neither a duration such as 30m nor a time/],
    [['change'], /nothing to change: name an option, such as --message/],
    [['cancel', 'a', 'b', 'c'], /'cancel' takes one site and one ID/],
    [['on', '--message', 'Back', '-soon'], /unknown option '-s'/],
    [
      ['on', '--message', 'Back', 'in ten'],
      /site 'in ten': expected a name of letters.*\. Did you forget to quote the message\? --message "Back in ten"/
    ],
    [[
      'on', '--message', 'Back', 'in', '--by', 'Ann', 'Lee!', '--force'
    ], /site 'Lee!'.*quote the message\? --message "Back in" --by "Ann Lee!"/],
    [['on', '--message-lang', 'de=Bald', 'zurück'], /site 'zurück'.*quote the message\? --message-lang "de=Bald zurück"/],
    [['run', '--message', 'Back', 'in', 'ten', '--', 'x'], /'run' takes one site.*quote the message\? --message "Back in ten"/],
    [['extend', '30m', '--by', 'Ann', 'Lee'], /extend: 'Lee' is neither.*quote the message\? --by "Ann Lee"/],
    [['cancel', '--by', 'Ann', 'B.', 'C.', 'Lee'], /'cancel' takes one site.*quote the message\? --by "Ann B. C. Lee"/]
  ]
  for (const [args, message] of cases) {
    const result = await run([...args, '--json'], { MAINTENANCE_STORE: `file:${file}` })
    t.match(result, { code: 2, out: '', err: message }, args.join(' '))
    t.match(result.err, /^fastify-maintenance: [^\n]*\nfastify-maintenance --help shows how it is used\n$/)
  }
  for (const args of [['on', '--ends-at', '2001-01-01T00:00:00Z'], ['on', '--starts-at', '2001-01-01T00:00:00Z']]) {
    t.match(await run([...args, '--force', '--json'], { MAINTENANCE_STORE: `file:${file}` }), {
      code: 2, out: '', err: /--(ends|starts)-at is '2001-01-01T00:00:00.000Z', expected a time in the future/
    })
  }
  t.notOk(existsSync(file))
  for (const store of [undefined, '', 'file:', 'redis:localhost', 'http://x', './state.json', 'file://host/x']) {
    t.match(await run(
      ['status'],
      store === undefined ? {} : { MAINTENANCE_STORE: store }
    ), { code: 2, out: '', err: /expected redis:.*file:PATH/ }, String(store))
  }
  t.match(await run(['status', '--store', 'http://user:secret@host']), {
    code: 2, err: /the store is an address of http:\/\/, expected/
  })
  t.match(await run(['status', '--store', './state.json']), { code: 2, err: /did you mean 'file:\.\/state\.json'/ })
  t.match(await run(['status', '--store', 'redis://127.0.0.1:1', '--prefix', 'y']), { code: 1, err: /ECONNREFUSED/ })
  t.match(await run(['status', '--store', 'file:x', '--prefix', 'y']), {
    code: 2, err: /--prefix is for a store in Redis or a database/
  })
})

t.test('a store that fails: exit code 1, nothing on stdout', async t => {
  const dir = t.testdir({ garbage: '{', folder: {} })
  const missing = await run(['status', '--store', `file:${dir}/no/where.json`, '--json'])
  t.match(missing, { code: 1, out: '', err: /^fastify-maintenance: .*ENOENT.*\n$/ })
  t.match(await run(['on', '--store', `file:${dir}/no/where.json`]), { code: 1, out: '', err: /ENOENT/ })
  t.match(await run(['status', '--store', `file:${dir}/garbage`]), {
    code: 1, out: '', err: /the state of site 'default' cannot be understood: the state file is no JSON/
  })
  t.match(await run(['on', '--store', `file:${dir}/folder`]), { code: 1, out: '', err: /is no regular file/ })
  t.match(await run(['off', '--store', `file:${dir}/garbage`]), { code: 0 }, 'off repairs a corrupt state')
  t.match(await run(['status', '--store', `file:${dir}/garbage`]), { code: 0, out: /^default: open, last changed/ })
})

t.test('if the store fails after some of several sites, the error names those that changed', async t => {
  const file = stateFile(t)
  const store = ['--store', `file:${file}`]
  await run(['on', 'big', '--force', ...store, ...Array.from({ length: 94 }, (_, i) => [
    '--ignore-route', `/${i}${'x'.repeat(5000)}`
  ]).flat()])
  const result = await run(['on', 'small', 'big2', '--force', ...store, ...Array.from({ length: 94 }, (_, i) => [
    '--ignore-route', `/${i}${'x'.repeat(5000)}`
  ]).flat()])
  t.match(result, {
    code: 1,
    out: '',
    err: /site 'big2': the store failed, nothing was changed: the state of all sites would be larger than 1048576 bytes; changed before: small/
  })
})

t.test('stored text cannot control the terminal', async t => {
  const store = ['--store', `file:${stateFile(t)}`]
  t.match(await run(['on', '--force', ...store, '--message', 'a\tb\nc\u202e']), {
    out: /message: a\\u0009b\\u000ac\\u202e\n/
  })
})

t.test('stored text is also escaped on stderr and in JSON', async t => {
  const file = stateFile(t)
  const store = ['--store', `file:${file}`]
  const odd = 'a\u001b]0;t\u0007\u009b2J\u061c\u200e\u202e\u2066\ufeff\u2028b'
  // eslint-disable-next-line no-control-regex -- characters that must not reach a terminal
  const acting = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/
  for (const record of [odd, JSON.stringify({ [odd]: 1 }), JSON.stringify({ v: odd })]) {
    for (const text of [record, JSON.stringify({
      v: 1, sites: { default: { revision: 1, record } }
    }), JSON.stringify({ v: 1, sites: { default: { [odd]: odd } } })]) {
      writeFileSync(file, text)
      const { code, out, err } = await run(['status', ...store])
      t.equal(code, 1)
      t.notMatch(out + err, acting)
    }
  }
  for (const args of [['status', odd], [odd], ['on', `--${odd}`], ['on', '--mode', odd]]) {
    t.notMatch((await run([...args, ...store])).err, acting)
  }
  writeFileSync(file, '')
  const message = 'a\u2028b\u202e\ufeff'
  const json = await run(['on', '--force', ...store, '--message', message, '--json'])
  t.notMatch(json.out, acting)
  t.equal(JSON.parse(json.out).sites[0].message, message, 'the message is unchanged')
})

t.test('typing errors: similar commands and options are suggested; passwords are not shown', async t => {
  t.match(await run(['staus']), { code: 2, err: /unknown command 'staus'. Did you mean status\?/ })
  t.match(await run(['on', '--massage', 'x']), {
    code: 2, err: /unknown option '--massage'. Did you mean --message\?\n/
  })
  t.match(await run(['on', '--zzzzzz']), { code: 2, err: /unknown option '--zzzzzz'\n/ })
  const addresses = [
    'redis:/user:S3cret@host', 'http://user:S3cret@host', 'redis://user:a/S3cret@host', 'rediss://h:S3cret',
    'user:S3cret@host', 'S3cret', 'redis//:p "S3cret\'@h'
  ]
  for (const address of addresses) {
    for (const [args, env] of [
      [['status', '--store', address], {}],
      [['status'], { MAINTENANCE_STORE: address }],
      [['status', `--stor=${address}`], {}]
    ] as const) {
      const { code, out, err } = await run([...args], env)
      t.equal(code, 2)
      t.notMatch(out + err, 'S3cret')
    }
  }
  for (const args of [['redis://user:S3 cret@host'], ['status', 'redis://h?password=S3cret']]) {
    t.notMatch((await run(args)).err, /S3|cret/)
  }
})

t.test('help and version', async t => {
  t.match(await run(['--help']), { code: 0, out: /^fastify-maintenance: close and open[^]* on \[site…\] /, err: '' })
  t.match(await run(['help']), { code: 0, out: /Exit codes/ })
  for (const args of [['on', '--help'], ['help', 'on'], ['on', 'shop', '-h']]) {
    t.match(await run(args), {
      code: 0,
      out: /^fastify-maintenance on \[site…\]: close sites[^]*--wait\[=DURATION\] [^]*-h, --help [^]*Examples:\n {2}fastify-maintenance on /
    })
  }
  for (const args of [['help', 'sql'], ['sql', '-h'], ['completion', '--help'], ['help', 'help']]) {
    const topic = args.find(word => word !== 'help' && !word.startsWith('-')) ?? 'help'
    const text = new RegExp(`^fastify-maintenance ${topic} .*: (print|show) [^]*-h, --help [^]*Examples:\n  fastify-maintenance ${topic} `)
    t.match(await run(args), { code: 0, out: text, err: '' }, args.join(' '))
  }
  t.match(await run(['complition', 'bash']), { code: 2, err: /did you mean completion\?/i })
  t.match(await run(['--version']), { code: 0, out: `${VERSION}\n` })
})

/* eslint-disable no-control-regex -- output for a terminal */

/** A server's name in the output. */
const SERVER = `\\S+ \\(process ${process.pid}\\)`

/** The last check of the servers has little time: on a busy machine, too little. */
const LATE = 'not safe after \\d+ ms, but the change stands: (the list of servers could not be read any more; )?'

t.test('--wait: safe to proceed once every server has followed and nothing is running', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  const { app } = await createApp(t, { store: { file } })
  let answer = () => {}
  app.post('/order', () => new Promise<void>(resolve => { answer = resolve }))
  await app.ready()
  app.inject({ method: 'POST', url: '/order' }).catch(() => {})
  await until('it runs', () => app.maintenance.status().inFlight === 1)

  const late = await run(['on', '--wait=1s'], env)
  t.match(late, {
    code: 3,
    out: /^default: closed \(full\) since .*\n {2}stored in: .*\n(default: [01] of 1 server closed, 1 request running\n)+$/
  })
  t.equal(new Set(late.out.split('\n')).size, late.out.split('\n').length, 'no repeated lines')
  t.match(late.err, new RegExp(
    `^fastify-maintenance: site 'default': ${LATE}${SERVER} runs 1 × POST /order, last seen at ${TIME}\\n$`
  ))
  const json = await run(['on', '--wait=1s', '--json'], env)
  t.equal(json.code, 3)
  t.match(JSON.parse(json.out).sites, [{ site: 'default', active: true, safe: false }])

  const waiting = run(['on', '--wait'], env)
  await until(
    'the server has closed',
    async () => (await siteIn(run(['status', '--json'], env))).servers[0]?.sites[0].active === true
  )
  answer()
  t.match(await waiting, {
    code: 0, out: /\ndefault: 1 of 1 server closed, 0 requests running\ndefault: safe to proceed\n$/, err: ''
  })
  t.match(await siteIn(run(['on', '--wait', '--json'], env)), { safe: true })
  t.match(await run(['off', '--wait'], env), { code: 0, out: /\ndefault: 1 of 1 server open\n$/, err: '' })
  t.notOk('safe' in await siteIn(run(['off', '--json'], env)))
})

t.test('--wait: several sites, a pinned server, and no server', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  await (await createApp(t, { store: { file }, site: 'shop', sites: ['shop', 'blog'] })).app.ready()
  t.match(await run(['on', 'shop', 'blog', '--wait'], env), {
    code: 0, out: /shop: safe to proceed\n[^]*blog: safe to proceed\n$/, err: ''
  })
  t.match(JSON.parse((await run(['off', 'shop', 'blog', '--wait', '--json'], env)).out).sites, [
    { site: 'shop', safe: true }, { site: 'blog', safe: true }
  ])
  await (await createApp(t, { store: { file }, site: 'blog', pinned: 'open' })).app.ready()
  const on = await run(['on', 'shop', 'blog', '--wait'], env)
  t.equal(on.code, 3, 'a server that is pinned open lets requests through')
  t.match(on.out, /shop: safe to proceed/)
  t.notMatch(on.out, /blog: safe to proceed/)
  t.match(on.err, new RegExp(
    `site 'blog': not safe after \\d{1,4} ms, but the change stands: ${SERVER} stays open: its option 'pinned' decides\\n`
  ))
  await (await createApp(t, { store: { file }, site: 'news', pinned: 'closed' })).app.ready()
  t.match(await run(['off', 'news', '--wait'], env), { code: 3, err: /stays closed on .*pinned/ })
  t.match(
    await run(['on', 'news', '--wait'], env),
    { code: 0, out: /news: safe to proceed\n$/ },
    'a pinned server in the requested state'
  )
  t.match(await run(['on', 'shopp', '--wait'], env), {
    code: 2, out: '', err: /site 'shopp': neither stored in .*known there: .*shop.*Did you mean shop\?/
  })
  t.match(await run(['on', 'shopp', '--wait=1s', '--force'], env), {
    code: 3,
    err: new RegExp(
    `warning: no running server uses site 'shopp'[^]*site 'shopp': ${LATE}no running server uses site 'shopp'\\n$`
    )
  })
  t.match(await siteIn(
    run(['on', 'shopp', '--wait=1s', '--json'], env)
  ), { safe: false, servers: [] }, 'no server reports it')
  t.match(await run(['on', 'shopp', 'shop'], env), {
    code: 0, err: /^fastify-maintenance: warning: no running server uses site 'shopp' in .*\n$/
  })
})

t.test('--wait: one line on a terminal', async t => {
  const file = stateFile(t)
  const { app } = await createApp(t, { store: { file } })
  let answer = () => {}
  app.get('/slow', () => new Promise<void>(resolve => { answer = resolve }))
  await app.ready()
  const onTerminal = async (...args: string[]) => {
    let out = ''
    let err = ''
    const code = await main([...args, '--store', `file:${file}`], {}, {
      out: text => { out += text }, err: text => { err += text }, terminal: true
    })
    return { code, out: out.slice(out.indexOf('\r')), err }
  }
  app.inject('/slow').catch(() => {})
  await until('it runs', () => app.maintenance.status().inFlight === 1)
  const late = await onTerminal('on', '--wait=1s')
  t.match(late, { code: 3, err: /not safe after/ })
  t.match(
    late.out,
    /^(\r\u001b\[Kdefault: [01] of 1 server closed, 1 request running)+\n$/,
    'the error begins on a new line'
  )
  answer()
  const on = await onTerminal('on', '--wait')
  t.match(on, { code: 0, err: '' })
  t.match(on.out, /\r\u001b\[Kdefault: 1 of 1 server closed, 0 requests running\ndefault: safe to proceed\n$/)
})

t.test('--wait: wrong use', async t => {
  const file = stateFile(t)
  for (const [args, message] of [
    [['on', '--wait=soon'], /--wait is 'soon', expected a duration such as/],
    [['on', '--wait='], /--wait is ''/],
    [['on', '--wait=25h'], /--wait is '25h', expected at most a day/],
    [['on', '--wait', '60s'], /use --wait=60s/],
    [['on', '--wait', '30'], /use --wait=30/],
    [['on', '--wait=30'], /--wait is '30', expected a unit: 30s/],
    [['status', '--wait'], /'status' has no option --wait/],
    [['on', '--watch'], /'on' has no option --watch/],
    [['servers', 'a', 'b'], /'servers' takes one site/]
  ] as [string[], RegExp][]) {
    t.match(await run(args, { MAINTENANCE_STORE: `file:${file}` }), { code: 2, out: '', err: message }, args.join(' '))
  }
  t.notOk(existsSync(file))
  t.match(await run(
    ['on', '30s', 'shop', '--force'],
    { MAINTENANCE_STORE: `file:${file}` }
  ), { code: 0, out: /^30s: closed[^]*\nshop: closed/ }, 'a site may have the name of a duration')
})

t.test('servers: the list, and requests that are still running', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  t.strictSame(await run(['servers'], env), { code: 0, out: '', err: '' })
  await run(['on', 'shop', '--force'], env)
  for (const [args, what] of [
    [['servers'], "no server uses site 'default'"],
    [['history'], "site 'default' has no history"],
    [['status'], "site 'default' is neither stored nor served by a running server"]
  ] as const) {
    t.match(await run([...args], env), { code: 0, err: `fastify-maintenance: ${what}; known there: shop\n` })
  }
  t.equal((await run(['servers', 'shop'], env)).err, '', 'no other site is known')
  const { app } = await createApp(t, { store: { file } })
  const answers: (() => void)[] = []
  app.get('/slow', () => new Promise<void>(resolve => { answers.push(resolve) }))
  await app.ready()
  t.match((await run(['servers'], env)).out, new RegExp(
    `^${SERVER}: open, revision 0, nothing running, seen ${TIME}, version ${VERSION}\\n$`
  ))
  app.inject('/slow').catch(() => {})
  await until('it runs', () => answers.length === 1)
  await retried(() => app.maintenance.set(true, { mode: 'read-only' }))
  await until('reported', async () => /\(from before: 1 × GET \/slow\)/.test((await run(['servers'], env)).out))
  answers[0]?.()
  app.inject('/slow').catch(() => {})
  await until('another runs', () => answers.length === 2)
  await until(
    'reported',
    async () => /: closed, revision \d+, 1 request running, seen/.test((await run(['servers'], env)).out)
  )
  answers[1]?.()
  const { servers: [server] } = await siteIn(run(['servers', '--json'], env))
  t.match(server, { pid: process.pid, sites: [{ site: 'default', active: true, pinned: false }] })

  // another server, silent for a while, with control characters in its name
  const other = {
    ...server,
    id: 'other',
    label: 'a\u001bb (process 7)',
    sites: [{ ...server.sites[0], pinned: true }],
    lost: true,
    seenAt: new Date(Date.now() - 90_000).toISOString()
  }
  await createFileServers(file).heartbeat('other', JSON.stringify(other), 60_000)
  t.match(
    (await run(['servers', 'default'], env)).out,
    /a\\u001bb \(process 7\): closed \(pinned\), revision \d+, .* running.*, lost, last seen .* \(\d minutes? ago\), version/
  )
  t.match(await run(['servers', '--store', 'redis://127.0.0.1:1']), { code: 1, out: '', err: /ECONNREFUSED/ })
})

t.test('status --watch: every change until interrupted', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  const watch = (args: string[], terminal = false) => {
    const abort = new AbortController()
    const seen = { out: '', err: '', abort: () => abort.abort() }
    const code = main(['status', '--watch', ...args], env, {
      out: text => { seen.out += text }, err: text => { seen.err += text }, terminal, signal: abort.signal
    })
    return Object.assign(seen, { code })
  }
  const views = [watch([]), watch([], true), watch(['--json', 'default', 'blog']), watch(['--json'], true)] as const
  const [lines, terminal, documents, single] = views
  await until('all begin', () => views.every(({ out }) => out.includes('\n')))
  const open =
    `default: open \\(nothing stored at ${file}\\)\\n {2}servers: none is running\\n {2}stored in: ${file}\\n`
  const closed =
    `default: closed \\(full\\) since ${TIME}, last changed by ann\\n {2}message: Moving\\n {2}servers: none is running\\n {2}stored in: ${file}\\n`
  t.match(lines.out, new RegExp(`^${open}$`))
  await run(['on', '--force', '--by', 'ann', '--message', 'Moving'], env)
  await until('all show it', () => views.every(({ out }) => out.includes('Moving')))
  t.match(lines.out, new RegExp(`^${open}${closed}$`))
  t.match(terminal.out, new RegExp(`^${open}\u001b\\[3A\u001b\\[J${closed}$`))
  t.strictSame(
    documents.out.trim().split('\n').map(line => JSON.parse(line).sites).map(([{ site, active }]) => [site, active]),
    [['default', false], ['blog', false], ['default', true]]
  )
  t.equal(single.out.trim().split('\n').length, 2)
  t.notOk(single.out.includes('\u001b'))

  const whole = readFileSync(file)
  writeFileSync(file, 'garbage')
  await until('reported', () => views.every(({ err }) => err !== ''))
  const logged = lines.err
  t.match(logged, /^fastify-maintenance: the state of site 'default' cannot be understood: .*\n$/)
  const shown = lines.out
  await sleep(1200)
  t.strictSame([lines.out, lines.err], [shown, logged], 'once')
  writeFileSync(file, whole)
  await run(['off'], env)
  await until(
    'it continues',
    () => views.every(({ out }) => /open, last changed|"active":false[^]*"active":true[^]*"active":false/.test(out))
  )
  t.match(terminal.out, /\u001b\[4A\u001b\[Jdefault: open, last changed [^\u001b]*$/)
  await run(['on'], env)
  await until('closed', () => /closed \(full\) since [^]*$/.test(lines.out.slice(lines.out.lastIndexOf('default:'))))
  for (const view of views) view.abort()
  t.equal(await lines.code, 4)
  await Promise.all(views.map(({ code }) => code))

  writeFileSync(file, 'garbage')
  t.match(await watch([]).code, 1, 'a store that fails at once')
})

t.test('status --watch: Ctrl-C, and a closed pipe', async t => {
  const file = stateFile(t)
  await run(['on', '--force'], { MAINTENANCE_STORE: `file:${file}` })
  const start = () => spawn(process.execPath, [
    'dist/lib/cli/bin.js', 'status', '--watch', '--store', `file:${file}`
  ], { stdio: ['ignore', 'pipe', 'pipe'] })
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

t.test('the built command with a running server', async t => {
  const file = stateFile(t)
  const { app } = await createApp(t, { store: { file } })
  await app.ready()
  const command = (...args: string[]) => promisify(execFile)(process.execPath, ['dist/lib/cli/bin.js', ...args], {
    env: { ...process.env, MAINTENANCE_STORE: `file:${file}` }
  })
  t.match((await command('on')).stdout, /^default: closed \(full\)/)
  await until('the server is closed', () => app.maintenance.active, 1500)
  await t.rejects(command('status'), { code: 4 })
  await command('off')
  await until('the server is open', () => !app.maintenance.active, 1500)
  writeFileSync(file, 'garbage')
  await until('the server reads it', () => app.maintenance.status().store.error !== null)
  t.equal(app.maintenance.active, false)
  await command('on')
  await until('the server is closed', () => app.maintenance.active, 1500)
  t.ok(JSON.parse(readFileSync(file, 'utf8')).sites.default)
})
