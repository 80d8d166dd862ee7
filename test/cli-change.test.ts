import { existsSync } from 'node:fs'
import t from 'tap'
import { main } from '../lib/cli/main.ts'
import { createApp, stateFile } from './fixtures/app.ts'

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
