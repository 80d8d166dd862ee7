import { existsSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import t, { type Test } from 'tap'
import { main } from '../lib/cli/main.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import type { FastifyMaintenanceOptions, ServerSite, ServerStatus } from '../types/index.ts'
import { createApp, stateFile, until } from './fixtures/app.ts'

async function run (args: string[], env: NodeJS.ProcessEnv) {
  let out = ''
  let err = ''
  const code = await main(args, env, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

const stored = async (env: NodeJS.ProcessEnv) => JSON.parse((await run(['status', '--json'], env)).out).sites[0]

t.test('change and extend keep what they do not name', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  await run(['on', '--force', '--mode', 'read-only', '--message', 'Soon', '--ignore-ip', '10.0.0.0/8', '--for', '10m', '--by', 'ann'], env)
  t.match(await run(['extend', '30m'], env), { code: 0 })
  const extended = await stored(env)
  t.match(extended, { mode: 'read-only', message: 'Soon', windows: [{ ignoreIps: ['10.0.0.0/8'] }] })
  t.ok(Math.abs(Date.parse(extended.endsAt) - Date.now() - 2_400_000) < 20_000)
  await run(['change', '--ignore-ip', '192.0.2.7', '--no-ignore-ip', '10.0.0.0/8', '--no-end', '--message-lang', 'de=Bald'], env)
  t.match(await stored(env), { endsAt: null, message: { en: 'Soon', de: 'Bald' }, windows: [{ ignoreIps: ['192.0.2.7'] }] })
  t.match(await run(['change'], env), { code: 2, out: '', err: /nothing to change/ })
  t.match(await run(['change', '--no-ignore-ip', '10.0.0.0/8'], env), { code: 2, err: /--no-ignore-ip is '10.0.0.0\/8', expected one of 192.0.2.7/ })
})

t.test('cancel, by id and without', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  await run(['on', '--force', '--in', '2h', '--for', '30m'], env)
  const [{ id }] = (await stored(env)).windows
  t.match(await run(['cancel', id], env), { code: 0 })
  t.match(await run(['cancel'], env), { code: 2, out: '', err: /0 planned windows/ })
})

t.test('unknown sites are refused; links for testers need servers', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  t.match(await run(['on'], env), { code: 2, out: '', err: /neither stored in .*state.json/ })
  t.notOk(existsSync(file))
  await (await createApp(t, { store: { file }, pinned: 'open' })).app.ready()
  t.match(await run(['on', '--message', 'Back', 'in', 'ten'], env), { code: 2, err: /known there: default.*quote the message\? --message "Back in ten"/ })
  t.match(await run(['on', '--bypass'], env), { code: 2, err: /the option bypass is not set/ })
  t.match(await run(['on'], env), { code: 3, err: /stays open on .*pinned/ })
  t.match(await run(['status'], env), { code: 0, out: /open on every running server, but stored as closed[^]*pinned open/ })
})

t.test('who makes a change, unless --by says so', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  await run(['on', '--force'], { ...env, SUDO_USER: 'ann' })
  t.equal((await stored(env)).by, `ann@${os.hostname()}`, 'not root')
  await run(['on'], { ...env, SUDO_USER: 'x'.repeat(300) })
  t.equal((await stored(env)).by, null, 'what is no name is left out')

  // as in a container with a user id that /etc/passwd does not know
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
  t.match(await run(['extend', '30m'], env), { code: 2, out: '', err: `several windows could be meant. Name one of ${first.id} (planned), ${second.id} (planned)` })
  t.match(await run(['extend', '30m', '--window', second.id], env), { code: 0 })
  t.match(await run(['change', '--message', 'Soon', '--window', first.id], env), { code: 0 })
  const { windows } = await stored(env)
  t.match(windows, [{ id: first.id, message: 'Soon', endsAt: first.endsAt }, { id: second.id, message: null }])
  t.equal(Date.parse(windows[1].endsAt) - Date.parse(second.endsAt), 1_800_000)
  t.match(await run(['change', '--no-message', '--window', 'other'], env), { code: 2, err: /window 'other' does not exist/ })
})

/** Says that there are more servers, like the one that runs. */
async function servers (t: Test, options: FastifyMaintenanceOptions = {}) {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  await (await createApp(t, { store: { file }, ...options })).app.ready()
  const listed = async () => JSON.parse((await run(['servers', '--json'], env)).out).sites[0].servers as ServerStatus[]
  await until('it is listed', async () => (await listed()).length === 1)
  const [server] = await listed() as [ServerStatus]
  async function say (label: string, site: Partial<ServerSite>, rest: Partial<ServerStatus> = {}) {
    const entry = { ...server, id: label, label, seenAt: new Date().toISOString(), sites: [{ ...server.sites[0], ...site }], ...rest }
    await createFileServers(file).heartbeat(label, JSON.stringify(entry), 60_000)
  }
  return { env, say }
}

t.test('status names the servers that do something else, and why', async t => {
  const { env, say } = await servers(t)
  await run(['on'], env)
  const { revision } = await stored(env)
  await say('own', { active: false, revision })
  await say('gone', { active: true, revision }, { seenAt: new Date(Date.now() - 60_000).toISOString() })
  t.match(await run(['status'], env), { code: 3, out: /^default: closed on 1 of 2 servers, but stored as closed \(full\)[^]*\n {2}servers: 1 of 2 closed\n {4}own is open by its own schedule\n {4}gone is lost, last seen / })
  await say('behind', { active: false, revision: revision - 1 })
  t.match(await run(['status'], env), { code: 3, out: /closed on 1 of 3 servers[^]*\n {4}behind is open: it has not followed, last seen / })
})

t.test('--bypass: a link for each server where their paths differ', async t => {
  const { env, say } = await servers(t, { bypass: {} })
  await say('other', {}, { bypassPath: '/api/maintenance/bypass' })
  t.match(await run(['on', '--bypass'], env), { code: 0, out: /\n {2}testers enter at \/maintenance\/bypass#(\S+) on .* \(shown once\)\n {2}testers enter at \/api\/maintenance\/bypass#\1 on other \(shown once\)\n$/ })
})
