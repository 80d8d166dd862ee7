import { readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Compile } from 'typebox/schema'
import { main } from '../lib/cli/main.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import type { Maintenance } from '../types/index.ts'
import { createApp, stateFile, until } from './fixtures/app.ts'
import { blocksIn, command } from './fixtures/docs.ts'

// Runs the commands of docs/command.md as written, task by task, with a running server.

const PAGE = readFileSync('docs/command.md', 'utf8')

/** The tasks of the page: a heading, and the commands below it. */
const tasks = (PAGE.split('\n## ').find(part => part.startsWith('Tasks')) ?? '').split('\n### ').slice(1).map(task => ({
  title: task.split('\n')[0] ?? '',
  lines: blocksIn(task).flatMap(({ language, code }) => language === 'sh' ? code.trim().split('\n') : [])
}))

/** The result of each task, as the server sees it. */
const EXPECTED: { readonly [title: string]: (maintenance: Maintenance, printed: string) => unknown } = {
  'Close the site now': ({ status }) => status().message === 'Back in half an hour' && status().endsAt !== null,
  'Give it 30 minutes more': ({ status }) => Date.parse(status().endsAt ?? '') > Date.now() + 59 * 60_000,
  'Change the message': ({ status }) => status().message === 'It takes a little longer' && status().endsAt !== null,
  'Let my address in': ({ status }) => status().windows[0]?.ignoreIps.includes('192.0.2.7'),
  'Let my browser in, or a colleague': ({ status }, printed) => status().windows[0]?.bypass === true &&
    /\/maintenance\/bypass#\S{32}/.test(printed),
  'See what visitors get': (_, printed) => /^default: closed \(full\)/.test(printed) &&
    printed.includes('message: It takes a little longer'),
  'See which server did not follow, and why': (_, printed) => /: closed, revision \d+/.test(printed),
  'Switch to read-only, and back': ({ status }) => status().mode === 'full' && status().windows[0]?.bypass,
  'Open the site': maintenance => !maintenance.active,
  'Announce maintenance for tomorrow': ({ status, active }) => !active && status().windows.length === 1,
  'Announce a second window': ({ status, active }) => !active && status().windows.length === 2,
  'See the plan': ({ status }, printed) => status().windows.every(({ id }) => printed.includes(id)),
  'Move a window': ({ status }) => Date.parse(status().windows[0]?.startsAt ?? '') > Date.now() + 25 * 3_600_000,
  'Cancel one': ({ status }) => status().windows.length === 1,
  'Close only the checkout': ({ status }) => status().windows.some(({ active, onlyRoutes }) => active &&
    onlyRoutes[0] === '/checkout/*'),
  'Close, and wait until it is safe': ({ active }, printed) => active && printed.endsWith('default: safe to proceed\n'),
  'Migrate in one line': ({ active }) => active,
  'Open the site although a run hangs': maintenance => !maintenance.active,
  'See who did what': (_, printed) => printed.split('\n').length > 15 && printed.includes('run ended'),
  'Repair a corrupt state': ({ status }) => status().source === 'store' && status().store.error === null,
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
    if (title.includes('run hangs')) {
      maintenance.run(({ signal }) => new Promise(
        resolve => signal.addEventListener('abort', () => resolve(null))
      )).catch(() => {})
    }
    let printed = ''
    for (const line of lines) {
      const { code, text } = await command(line.replace('ID', maintenance.status().windows[0]?.id ??
        ''), { MAINTENANCE_STORE: `file:${file}` })
      t.ok(code === 0 || (code === 4 && line.includes('status')), `${line}: ${code} ${text}`)
      printed = text
    }
    await maintenance.refresh()
    t.ok(EXPECTED[title]?.(maintenance, printed), `${title}: ${printed}`)
  }
})

// The documents, and docs/command.schema.json.

const SCHEMA = JSON.parse(readFileSync('docs/command.schema.json', 'utf8'))

/** A schema that rejects unknown members, so every member is documented. */
const strict = (schema: unknown): unknown => {
  if (typeof schema !== 'object' || schema === null) return schema
  if (Array.isArray(schema)) return schema.map(strict)
  const inside = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, strict(value)]))
  return 'required' in schema ? { additionalProperties: false, ...inside } : inside
}

/** Checks a document against the schema of one kind of site. */
function check (t: Test, kind: 'state' | 'history' | 'servers', text: string, what: string) {
  const schema = strict({
    ...SCHEMA,
    properties: { ...SCHEMA.properties, sites: { type: 'array', minItems: 1, items: { $ref: `#/$defs/${kind}` } } }
  })
  const [isValid, errors] = Compile(schema as object).Errors(JSON.parse(text))
  t.ok(isValid, `${what}: ${JSON.stringify(errors.map(({ instancePath, message }) => [instancePath, message]))}`)
  t.ok(Compile(SCHEMA).Check(JSON.parse(text)), `${what}: one of all documents`)
}

/** The stdout of the command. */
async function typeApart (line: string, env: NodeJS.ProcessEnv, signal?: AbortSignal) {
  let out = ''
  const code = await main(line.split(' '), env, {
    out: text => { out += text }, err: () => {}, ...(signal && { signal })
  })
  return { code, out }
}

t.test('docs/command.md: every JSON document follows the schema', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  const { app } = await createApp(t, { store: { file }, sites: ['default', 'shop'], bypass: {} })
  let answer = () => {}
  app.post('/order', () => new Promise<void>(resolve => { answer = resolve }))
  await app.ready()
  const type = (line: string, signal?: AbortSignal) => typeApart(`${line} --json`, env, signal)
  const documents: [line: string, kind: 'state' | 'history' | 'servers', code: number][] = [
    ['status', 'state', 0],
    ['history', 'history', 0],
    ['servers', 'servers', 0],
    [
      'on --for 1h --mode read-only --message Hi --retry-after 60 --ignore-route /a --ignore-ip 192.0.2.7 --only-route /b/* --bypass',
      'state',
      0
    ],
    ['status', 'state', 4],
    ['extend 30m', 'state', 0],
    ['change --message-lang de=Bald', 'state', 0],
    ['on default shop --in 2h --for 1h --message Later', 'state', 0],
    ['status default shop', 'state', 4],
    ['off --wait', 'state', 0],
    ['cancel', 'state', 0],
    ['off shop', 'state', 0],
    ['on --bypass --wait', 'state', 0],
    ['off', 'state', 0]
  ]
  const seen = new Set<string>()
  for (const [line, kind, expected] of documents) {
    const { code, out } = await type(line)
    t.equal(code, expected, line)
    check(t, kind, out, line)
    for (const site of JSON.parse(out).sites) for (const member of Object.keys(site)) seen.add(member)
  }

  // not safe, as a request is running; the change and the document are still valid
  app.inject({ method: 'POST', url: '/order' }).catch(() => {})
  await until('it runs', () => app.maintenance.status().inFlight === 1)
  const late = await type('on --wait=1s')
  t.equal(late.code, 3)
  check(t, 'state', late.out, 'on --wait, not safe')
  t.match(JSON.parse(late.out).sites, [{ safe: false, unready: [{ draining: { 'POST /order': 1 } }] }])
  answer()
  // a killed server, and one that is pinned open
  const [server] = JSON.parse((await type('servers')).out).sites[0].servers
  const pinned = { ...server, id: 'pinned', sites: [{ ...server.sites[0], active: false, pinned: true }] }
  const lost = { ...server, id: 'lost', seenAt: new Date(Date.now() - 90_000).toISOString() }
  for (const entry of [pinned, lost]) await createFileServers(file).heartbeat(entry.id, JSON.stringify(entry), 60_000)
  for (const [line, kind, code] of [
    ['status', 'state', 3],
    ['on', 'state', 3],
    ['on --wait=1s', 'state', 3],
    ['servers', 'servers', 0],
    ['history', 'history', 0]
  ] as const) {
    const result = await type(line)
    t.equal(result.code, code, line)
    check(t, kind, result.out, line)
    if (line === 'on --wait=1s') {
      t.match(JSON.parse(result.out).sites, [{ safe: false, pinned: [{ id: 'pinned' }], lost: [{ id: 'lost' }] }])
    }
    if (line === 'history') t.ok(JSON.parse(result.out).sites[0].history.length > 5)
  }

  const ofWatch = await type('status default shop --watch', AbortSignal.timeout(1000))
  for (const line of ofWatch.out.trim().split('\n')) check(t, 'state', line, 'status --watch')

  for (const line of ['status ../x', 'on nowhere', 'cancel nothing', 'extend 30', 'on --wait --in 1h', 'run -- true']) {
    t.match(await typeApart(
      `${line.replace(' -- ', ' --json -- ')}${line.includes(' -- ') ? '' : ' --json'}`,
      env
    ), { code: 2, out: '' }, line)
  }
  for (const line of ['status', 'servers', 'history', 'on']) {
    t.match(await typeApart(`${line} --json`, { MAINTENANCE_STORE: 'redis://127.0.0.1:1' }), { code: 1, out: '' }, line)
  }

  const members = Object.values(SCHEMA.$defs).slice(0, 3).flatMap(
    kind => Object.keys((kind as { properties: object }).properties)
  )
  t.strictSame([...new Set(members)].filter(member => !seen.has(member)), [], 'every member occurred')
  const named = (PAGE.split('\n## ').find(part => part.startsWith('JSON')) ?? '').split('\n').filter(line =>
    line.startsWith('| `')).flatMap(line => [...line.split('|')[1]?.matchAll(/`(\w+)`/g) ?? []].map(([, name]) => name))
  t.strictSame([...new Set(named)].sort(), [...new Set(members)].sort(), 'the table on the page has every member')
  check(t, 'state', blocksIn(PAGE).find(({ language }) => language === 'json')?.code ?? '', 'the example on the page')
})
