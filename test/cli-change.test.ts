import { existsSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import t, { type Test } from 'tap'
import { main } from '../lib/cli/main.ts'
import { entryInWords, linkInWords, reportInWords, serverInWords } from '../lib/cli/print.ts'
import { timeInWords } from '../lib/cli/time.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import type { FastifyMaintenanceOptions, ServerSite, ServerStatus } from '../types/index.ts'
import { createApp, stateFile, until } from './fixtures/app.ts'
import { storedWindow, textOf } from './fixtures/records.ts'

async function run (args: string[], env: NodeJS.ProcessEnv) {
  let out = ''
  let err = ''
  const code = await main(args, env, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

const stored = async (env: NodeJS.ProcessEnv) => JSON.parse((await run(['status', '--json'], env)).out).sites[0]

t.test('change and extend keep everything else', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  await run([
    'on', '--force', '--mode', 'read-only', '--message', 'Soon', '--ignore-ip', '10.0.0.0/8', '--for', '10m', '--by',
    'ann'
  ], env)
  t.match(await run(['extend', '30m'], env), { code: 0 })
  const extended = await stored(env)
  t.match(extended, { mode: 'read-only', message: 'Soon', windows: [{ ignoreIps: ['10.0.0.0/8'] }] })
  t.ok(Math.abs(Date.parse(extended.endsAt) - Date.now() - 2_400_000) < 20_000)
  await run([
    'change', '--ignore-ip', '192.0.2.7', '--no-ignore-ip', '10.0.0.0/8', '--no-end', '--message-lang', 'de=Bald'
  ], env)
  t.match(await stored(env), {
    endsAt: null, message: { en: 'Soon', de: 'Bald' }, windows: [{ ignoreIps: ['192.0.2.7'] }]
  })
  t.match(await run(['change'], env), { code: 2, out: '', err: /nothing to change/ })
  t.match(await run(['change', '--no-ignore-ip', '10.0.0.0/8'], env), {
    code: 2, err: /--no-ignore-ip is '10.0.0.0\/8', expected one of 192.0.2.7/
  })
})

t.test('a schedule that keeps the site closed is the business of its servers: change and extend say so', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  const schedule = [{ cron: '* * * * *', duration: '59s', timeZone: 'UTC' }]
  const { app } = await createApp(t, { store: { file }, schedule })
  await app.ready()
  await until('the schedule closes the site', () => app.maintenance.active)
  for (const command of [['extend', '30m'], ['change', '--message', 'Soon']]) {
    await until('other processes know', async () =>
      (await run(command, env)).err.includes("site 'default' is closed by the schedule of its servers"))
    t.match(await run(command, env), { code: 2, out: '', err: /use on with --for or --until\n/ })
  }
})

t.test('the text of every state', t => {
  const window = (parts: object) => ({
    id: 'w',
    kind: 'now',
    active: true,
    mode: 'full',
    message: null,
    startsAt: null,
    endsAt: null,
    at: '2026-01-01T00:00:00Z',
    ignoreRoutes: [],
    ignoreIps: [],
    onlyRoutes: [],
    bypass: false,
    by: null,
    host: null,
    pid: null,
    ...parts
  })
  const server = (parts: object = {}) => ({
    label: 'app-1',
    bypassPath: '/enter',
    seenAt: '2026-01-01T00:00:00Z',
    inFlight: 1,
    streams: 2,
    version: '1',
    lost: false,
    sites: [{ site: 'shop', revision: 7, active: true, pinned: false, draining: {}, ...parts }]
  })
  const report = (parts: object): never => ({
    site: 'shop',
    active: true,
    mode: 'full',
    closedSince: '2026-01-01T00:00:00Z',
    changedAt: '2026-01-01T00:00:00Z',
    endsAt: null,
    by: null,
    revision: 7,
    windows: [window({})],
    servers: [],
    lost: [],
    ...parts
  }) as never
  const words = (parts: object) => reportInWords(report(parts), 'here')
  t.match(
    words({ active: false, revision: 0, windows: [] }),
    /^shop: open \(nothing stored at here\)\n {2}servers: none is running\n {2}stored in: here\n$/
  )
  t.match(words({ active: false, windows: [] }), /^shop: open, last changed 20\S+ \S+ \([^)]*\)\n/)
  t.match(words({ active: false, by: 'ann', windows: [] }), /^shop: open, last changed .* by ann\n/)
  t.match(words({
    closedSince: null, endsAt: '2999-01-01T00:00:00Z', by: 'ann'
  }), /closed \(full\) since an unknown time, until 299.*, last changed by ann/)
  const all = {
    message: { de: 'Bald' },
    onlyRoutes: ['/pay/*'],
    ignoreRoutes: [{ pattern: '/a' }],
    ignoreIps: ['10.0.0.1'],
    bypass: true
  }
  t.match(
    words({ windows: [window(all)] }),
    /message: Bald\n {2}only: \/pay\/\*\n {2}let through: \/a, 10.0.0.1, testers with the link\n/
  )
  t.match(words({ windows: [window({ kind: 'run', host: 'app-1', pid: 7 })] }), /by a run: w on app-1 \(process 7\)/)
  const several = words({
    windows: [window({ ...all, by: 'ann' }), window({
      id: 'r', kind: 'run', host: 'app-1', pid: 7, endsAt: '2999-01-01T00:00:00Z'
    }), window({ id: 'p', kind: 'planned', active: false, startsAt: '2999-01-01T00:00:00Z' })]
  })
  t.match(
    several,
    /now w: closed \(full\) since .*, by ann, only \/pay\/\*, lets through \/a, lets through 10.0.0.1, lets testers with the link through, message: Bald\n/
  )
  t.match(
    several,
    /run r: closed .*, until .*, by a run on app-1 \(process 7\)\n {2}planned p: will close \(full\) at 299[^,]*\n/
  )
  t.match(
    words({ servers: [server(), server({ active: false, pinned: true })] }),
    /^shop: closed on 1 of 2 servers, but stored as closed[^]*servers: 1 of 2 closed\n {4}app-1 is pinned open by its option/
  )
  t.match(words({
    servers: [server({ active: false, revision: 1 })]
  }), /^shop: open on every running server, but stored as closed[^]*app-1 is open: it has not followed, last seen/)
  t.match(
    words({ active: false, windows: [], servers: [server()], lost: [server()] }),
    /^shop: closed on every running server, but stored as open[^]*app-1 is closed by its own schedule\n {4}app-1 is lost, last seen/
  )
  const link = { secret: 's', path: '/enter#s', verified: true }
  t.match(linkInWords(link, [server()] as never), ['  testers enter at /enter#s (shown once)'])
  t.match(linkInWords({ ...link, verified: false }, []), [/not verified, no server is running/])
  t.match(linkInWords(link, [
    server(), { ...server(), label: 'app-2', bypassPath: '/in' }
  ] as never), [/\/enter#s on app-1/, /\/in#s on app-2/])
  const entry = {
    revision: 7,
    kind: 'run',
    window: null,
    ended: false,
    mode: 'full',
    message: 'Hi',
    startsAt: null,
    endsAt: null,
    by: 'ann',
    at: '2026-01-01T00:00:00Z'
  } as const
  t.equal(entryInWords(entry), `${timeInWords(entry.at)}  run began (full), by ann: Hi\n`)
  t.equal(entryInWords({
    ...entry, ended: true, mode: null, message: null, by: null, startsAt: entry.at, endsAt: entry.at
  }), `${timeInWords(entry.at)}  run ended from ${timeInWords(entry.at)} until ${timeInWords(entry.at)}\n`)
  t.match(
    serverInWords(server({ draining: { 'GET /': 2 } }) as never, 'shop', 7),
    /^app-1: closed, revision 7, 1 request and 2 streams running \(from before: 2 × GET \/\), seen/
  )
  t.match(serverInWords({
    ...server({ pinned: true, active: false }), lost: true
  } as never, 'shop', 8), /open \(pinned\), .*, lost, last seen/)
  t.match(
    serverInWords(server({ active: false }) as never, 'shop', 8),
    /^app-1: open \(has not followed\), revision 7, /
  )
  t.match(serverInWords({ ...server({}), inFlight: 0 } as never, 'shop', 7), /revision 7, 2 streams running, seen/)
  t.equal(timeInWords(null), 'an unknown time')
  t.end()
})

t.test('typing errors', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  await run(['on', '--force', '--message', 'Soon'], env)
  const wrong: [string[], RegExp][] = [
    [[], /no command/], [['onn'], /unknown command 'onn'. Did you mean on/],
    [['help', 'onn'], /unknown command 'onn'/], [['--mesage', 'x'], /unknown option '--mesage'/],
    [['on', '--mesage', 'x'], /unknown option '--mesage'. Did you mean --message/],
    [['on', '--json=yes'], /--json takes no value/], [['on', '--wait', '30'], /use --wait=30/],
    [['on', '--wait', '30s'], /use --wait=30s/],
    [['on', '--message'], /--message needs a value/],
    [['on', '--by', '-x'], /one that begins with a dash is written --by=/],
    [['on', '--for', '30'], /--for is '30', expected a unit: 30s/],
    [['on', '--for', 'x'], /--for is 'x', expected a duration/],
    [['on', '--retry-after', 'x'], /--retry-after is 'x', expected seconds/],
    [['on', '--message-lang', 'de'], /--message-lang is 'de', expected LANG=TEXT/],
    [['on', '--for', '1h', '--ends-at', '2999-01-01T00:00Z'], /mean the same: give one of them/],
    [['change', '--no-ignore-route', '/a'], /--no-ignore-route is '\/a', expected nothing: there is none/],
    [['run', 'shop'], /'run' needs a command behind --, such as: run -- shop/],
    [['run'], /such as: run -- npm run migrate/], [['run', 'a', 'b', '--', 'true'], /'run' takes one site/],
    [['run', '--wait=1s', '--no-wait', '--', 'true'], /contradict each other/],
    [['run', '--lease', 'x', '--', 'true'], /--lease is 'x'/],
    [['history', 'a', 'b'], /'history' takes one site/],
    [['cancel', 'a', 'b', 'c'], /'cancel' takes one site and one ID/], [['shpo', 'x'], /unknown command 'shpo'/]
  ]
  for (const [args, message] of wrong) t.match(await run(args, env), { code: 2, out: '', err: message }, args.join(' '))
  t.match(await run(['on', 'shop', 'blog'], env), {
    code: 2, err: /sites 'shop', 'blog': neither stored in .* \(known there: default\)/
  })
  await run(['change', '--message-lang', 'de=Bald'], env)
  await run(['change', '--for', '1h', '--starts-at', '2999-01-01T00:00Z'], env)
  t.match(await stored(env), { message: { en: 'Soon', de: 'Bald' } })
  await run(['change', '--message', 'Later', '--message-lang', 'de=Später'], env)
  t.match(await stored(env), { message: { en: 'Later', de: 'Später' } })
  await run([
    'change', '--message-lang', 'fr=Plus tard', '--only-route', '/pay/*', '--ignore-route', '/pay/help', '--no-bypass',
    '--for', '2h'
  ], env)
  t.match(await stored(env), { message: { en: 'Later', de: 'Später', fr: 'Plus tard' } })
  t.match(await run(['on', '--bypass'], env), { code: 2, err: /no running server serves site 'default'/ })
  t.match(await run(['on', '--bypass', '--force'], env), { code: 0, out: /not verified, no server is running/ })
})

t.test('a run that begins between the check and the write keeps the site closed', async t => {
  const run_ = storedWindow({ id: 'run', kind: 'run', host: 'app-1', pid: 7 })
  const folder = t.testdir({
    'late.mjs': `let reads = 0
      export default {
        read: async () => reads++ < 2 ? ${JSON.stringify(textOf([storedWindow({ id: 'now' })]))} : ${JSON.stringify(
          textOf([storedWindow({ id: 'now' }), run_])
        )},
        write: async () => {}, watch () {}, close () {}
      }`
  })
  t.match(await run(['off', '--store', `${folder}/late.mjs`], {}), { code: 2, err: /kept closed by a run on app-1/ })
})

t.test('if the list of sites cannot be read, only a hint is missing', async t => {
  const folder = t.testdir({
    'listless.mjs': `export default {
      read: async () => null, write: async () => {}, watch () {}, close () {},
      async readAll () { throw new Error('no rights') }
    }`
  })
  for (const line of ['status', 'servers', 'history']) {
    t.match(await run([
      line, 'shop', '--json', '--store', `${folder}/listless.mjs`
    ], {}), { code: 0, out: /"site": "shop"/, err: '' }, line)
  }
})

t.test('a corrupt state is closed, and can be changed', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  writeFileSync(file, JSON.stringify({ v: 1, sites: { default: { revision: 7, record: 'garbage' } } }))
  t.match(await run(['status'], env), { code: 1, err: /cannot be understood/ })
  t.match(await run(['change', '--message', 'We are looking'], env), { code: 0, out: /^default: closed \(full\)/ })
  t.match(await stored(env), { active: true, message: 'We are looking' })
})

t.test('cancel, with and without an id', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  await run(['on', '--force', '--in', '2h', '--for', '30m'], env)
  const [{ id }] = (await stored(env)).windows
  t.match(await run(['cancel', id], env), { code: 0 })
  t.match(await run(['cancel'], env), { code: 2, out: '', err: /0 planned windows/ })
})

t.test('unknown sites are rejected; links for testers need servers', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  t.match(await run(['on'], env), { code: 2, out: '', err: /neither stored in .*state.json/ })
  t.notOk(existsSync(file))
  await (await createApp(t, { store: { file }, pinned: 'open' })).app.ready()
  t.match(await run(['on', '--message', 'Back', 'in', 'ten'], env), {
    code: 2, err: /known there: default.*quote the message\? --message "Back in ten"/
  })
  t.match(await run(['on', '--bypass'], env), { code: 2, err: /the option bypass is not set/ })
  t.match(await run(['on'], env), { code: 3, err: /stays open on .*pinned/ })
  t.match(await run(['status'], env), {
    code: 0, out: /open on every running server, but stored as closed[^]*pinned open/
  })
})

t.test('the author of a change without --by', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  await run(['on', '--force'], { ...env, SUDO_USER: 'ann' })
  t.equal((await stored(env)).by, `ann@${os.hostname()}`, 'not root')
  await run(['on'], { ...env, SUDO_USER: 'x'.repeat(300) })
  t.equal((await stored(env)).by, null, 'an invalid name is left out')

  // as in a container with a user id missing from /etc/passwd
  const { userInfo } = os
  const unknown = (): never => { throw new Error('uv_os_get_passwd returned ENOENT') }
  t.teardown(() => {
    Object.assign(os, { userInfo })
    syncBuiltinESMExports()
  })
  Object.assign(os, { userInfo: unknown })
  syncBuiltinESMExports()
  await run(['on'], { ...env, USER: 'deploy' })
  t.equal((await stored(env)).by, `deploy@${os.hostname()}`)
  await run(['on'], env)
  t.equal((await stored(env)).by, `unknown@${os.hostname()}`)
})

t.test('--window names one of several', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  for (const start of ['2h', '5h']) await run(['on', '--force', '--in', start, '--for', '30m'], env)
  const [first, second] = (await stored(env)).windows
  t.match(await run(['extend', '30m'], env), {
    code: 2, out: '', err: `several windows could be meant. Name one of ${first.id} (planned), ${second.id} (planned)`
  })
  t.match(await run(['extend', '30m', '--window', second.id], env), { code: 0 })
  t.match(await run(['change', '--message', 'Soon', '--window', first.id], env), { code: 0 })
  const { windows } = await stored(env)
  t.match(windows, [{ id: first.id, message: 'Soon', endsAt: first.endsAt }, { id: second.id, message: null }])
  t.equal(Date.parse(windows[1].endsAt) - Date.parse(second.endsAt), 1_800_000)
  t.match(await run(['change', '--no-message', '--window', 'other'], env), {
    code: 2, err: /window 'other' does not exist/
  })
})

/** Reports more servers, copies of the running one. */
async function servers (t: Test, options: FastifyMaintenanceOptions = {}) {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  await (await createApp(t, { store: { file }, ...options })).app.ready()
  const listed = async () => JSON.parse((await run(['servers', '--json'], env)).out).sites[0].servers as ServerStatus[]
  await until('it is listed', async () => (await listed()).length === 1)
  const [server] = await listed() as [ServerStatus]
  async function say (label: string, site: Partial<ServerSite>, rest: Partial<ServerStatus> = {}) {
    const entry = {
      ...server, id: label, label, seenAt: new Date().toISOString(), sites: [{ ...server.sites[0], ...site }], ...rest
    }
    await createFileServers(file).heartbeat(label, JSON.stringify(entry), 60_000)
  }
  return { env, say }
}

t.test('status names the servers that differ, and why', async t => {
  const { env, say } = await servers(t)
  await run(['on'], env)
  const { revision } = await stored(env)
  await say('own', { active: false, revision })
  await say('gone', { active: true, revision }, { seenAt: new Date(Date.now() - 60_000).toISOString() })
  t.match(await run(['status'], env), {
    code: 3,
    out: /^default: closed on 1 of 2 servers, but stored as closed \(full\)[^]*\n {2}servers: 1 of 2 closed\n {4}own is open by its own schedule\n {4}gone is lost, last seen /
  })
  t.match(await run(['on', '--wait=2s'], env), {
    code: 3, err: /gone is lost, [^]*\. If you have made sure that lost servers are dead, add --assume-dead\n/
  })
  await say('behind', { active: false, revision: revision - 1 })
  t.match(await run(['status'], env), {
    code: 3, out: /closed on 1 of 3 servers[^]*\n {4}behind is open: it has not followed, last seen /
  })
})

t.test('--bypass: one link per server if their paths differ', async t => {
  const { env, say } = await servers(t, { bypass: {} })
  await say('other', {}, { bypassPath: '/api/maintenance/bypass' })
  t.match(await run(['on', '--bypass'], env), {
    code: 0,
    out: /\n {2}testers enter at \/maintenance\/bypass#(\S+) on .* \(shown once\)\n {2}testers enter at \/api\/maintenance\/bypass#\1 on other \(shown once\)\n$/
  })
})
