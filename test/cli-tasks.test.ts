import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import type { Maintenance, SiteState } from '../types/index.ts'
import { createApp, stateFile } from './fixtures/app.ts'
import { blocksIn, command } from './fixtures/docs.ts'

// docs/command.md is typed as it is written, one task after the other, on a site that is served.

const PAGE = readFileSync('docs/command.md', 'utf8')

/** The tasks of the page: a heading, and the commands below it. */
const tasks = (PAGE.split('\n## ').find(part => part.startsWith('Tasks')) ?? '').split('\n### ').slice(1).map(task => ({
  title: task.split('\n')[0] ?? '',
  lines: blocksIn(task).flatMap(({ language, code }) => language === 'sh' ? code.trim().split('\n') : [])
}))

/** What a task leads to, seen by the server. */
const EXPECTED: { readonly [title: string]: (maintenance: Maintenance, printed: string) => unknown } = {
  'Close the site now': ({ status }) => status().message === 'Back in half an hour' && status().endsAt !== null,
  'Give it 30 minutes more': ({ status }) => Date.parse(status().endsAt ?? '') > Date.now() + 59 * 60_000,
  'Change the message': ({ status }) => status().message === 'It takes a little longer' && status().endsAt !== null,
  'Let my address in': ({ status }) => status().windows[0]?.ignoreIps.includes('192.0.2.7'),
  'Let my browser in, or a colleague': ({ status }, printed) => status().windows[0]?.bypass === true && /\/maintenance\/bypass#\S{32}/.test(printed),
  'See what visitors get': (_, printed) => /^default: closed \(full\)/.test(printed) && printed.includes('message: It takes a little longer'),
  'See which server did not follow, and why': (_, printed) => /: closed, revision \d+/.test(printed),
  'Switch to read-only, and back': ({ status }) => status().mode === 'full' && status().windows[0]?.bypass,
  'Open the site': maintenance => !maintenance.active,
  'Announce maintenance for tomorrow': ({ status, active }) => !active && status().windows.length === 1,
  'Announce a second window': ({ status, active }) => !active && status().windows.length === 2,
  'See the plan': ({ status }, printed) => status().windows.every(({ id }) => printed.includes(id)),
  'Move a window': ({ status }) => Date.parse(status().windows[0]?.startsAt ?? '') > Date.now() + 25 * 3_600_000,
  'Cancel one': ({ status }) => status().windows.length === 1,
  'Close only the checkout': ({ status }) => status().windows.some(({ active, onlyRoutes }) => active && onlyRoutes[0] === '/checkout/*'),
  'Close, and wait until it is safe': ({ active }, printed) => active && printed.endsWith('default: safe to proceed\n'),
  'Migrate in one line': ({ active }) => active,
  'Open the site although a run hangs': maintenance => !maintenance.active,
  'See who did what': (_, printed) => printed.split('\n').length > 15 && printed.includes('run ended'),
  'Repair a state that cannot be understood': ({ status }) => status().source === 'store' && status().store.error === null,
  'Find out where the state is': (_, printed) => /stored in: \/.*\/state.json\n$/.test(printed),
  'Use it in a script': (_, printed) => JSON.parse(printed).v === 1
}

t.test('docs/command.md: every task, as written', async t => {
  const file = stateFile(t)
  const { app } = await createApp(t, { store: { file }, bypass: {} })
  await app.ready()
  const { maintenance } = app
  t.strictSame(tasks.map(({ title }) => title), Object.keys(EXPECTED))
  for (const { title, lines } of tasks) {
    if (title.startsWith('Repair')) writeFileSync(file, '{"v":2,"records":{"default":"{"}}')
    if (title.includes('run hangs')) maintenance.run(({ signal }) => new Promise(resolve => signal.addEventListener('abort', () => resolve(null)))).catch(() => {})
    let printed = ''
    for (const line of lines) {
      const { code, text } = await command(line.replace('ID', maintenance.status().windows[0]?.id ?? ''), { MAINTENANCE_STORE: `file:${file}` })
      t.ok(code === 0 || (code === 4 && line.includes('status')), `${line}: ${code} ${text}`)
      printed = text
    }
    await maintenance.refresh()
    t.ok(EXPECTED[title]?.(maintenance, printed), `${title}: ${printed}`)
  }
})

/** The members that the table and the document of the page name. */
t.test('docs/command.md: the JSON documents have the members that the page names', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  await (await createApp(t, { store: { file: env.MAINTENANCE_STORE.slice(5) }, bypass: {} })).app.ready()
  const example = JSON.parse(blocksIn(PAGE).find(({ language }) => language === 'json')?.code ?? '').sites[0] as SiteState
  const type = async (line: string) => JSON.parse((await command(`npx fastify-maintenance ${line} --json`, env)).text)
  for (const line of ['status', 'on', 'extend 30m', 'change --message hi', 'off', 'on --in 2h', 'cancel']) {
    const document = await type(line)
    t.strictSame([Object.keys(document), document.v], [['v', 'sites'], 1])
    t.strictSame(Object.keys(document.sites[0]).sort(), Object.keys(example).sort(), line)
  }
  t.match(await type('on --bypass --wait'), { sites: [{ safe: true, bypass: { secret: String, path: String, verified: true } }] })
  t.match(await type('history'), { v: 1, sites: [{ site: 'default', history: [{ kind: 'closed' }] }] })
  t.match(await type('servers'), { v: 1, sites: [{ site: 'default', servers: [{ host: String }] }] })
})
