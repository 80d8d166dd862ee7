import view from '@fastify/view'
import { Eta } from 'eta'
import Fastify, { type FastifyInstance } from 'fastify'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import maintenance from '../index.ts'
import { main } from '../lib/cli/main.ts'

interface Block { language: string, code: string }

const blocksOf = (file: string): Block[] =>
  [...readFileSync(file, 'utf8').matchAll(/^```(\w*)\n([^]*?)^```$/gm)].map(([, language = '', code = '']) => ({ language, code }))

async function command (line: string, env: NodeJS.ProcessEnv) {
  const args = (line.replace(/^npx fastify-maintenance /, '').replace(/ #.*$/, '').match(/"[^"]*"|\S+/g) ?? []).map(arg => arg.replace(/^"|"$/g, ''))
  let text = ''
  const code = await main(args, env, { out: out => { text += out }, err: err => { text += err } })
  return { code, text }
}

t.test('planning maintenance: every command, as written, and what it prints', async t => {
  const env = { MAINTENANCE_STORE: `file:${join(t.testdir(), 'state.json')}` }
  const blocks = blocksOf('docs/planning-maintenance.md')
  let printed = ''
  let commands = 0
  for (const { language, code } of blocks) {
    if (language === '') t.equal(printed, code, 'prints what the page says')
    if (language !== 'sh') continue
    for (const line of code.trim().split(/\n| && /).filter(line => line.startsWith('npx '))) {
      const { code, text } = await command(line, env)
      t.equal(code, 0, `${line}: ${text}`)
      printed = text
      commands++
    }
  }
  t.equal(commands, 8)
})

t.test('planning maintenance: every piece of code runs', async t => {
  const pieces = blocksOf('docs/planning-maintenance.md').filter(({ language }) => language === 'js').map(({ code }) => code)
  t.equal(pieces.length, 10)
  for (const piece of pieces) {
    const app = Fastify()
    t.teardown(() => app.close())
    if (!piece.includes('app.register(')) {
      await app.register(view, { engine: { eta: new Eta() }, templates: t.testdir({ 'home.eta': '<%= it.upcoming?.message %>' }) })
      await app.register(maintenance)
    }
    const calls: string[] = []
    const world = {
      app,
      maintenance,
      request: { maintenance: { mode: null } },
      migrate: async () => { calls.push(`migrate ${app.maintenance.active}`) },
      countView: async () => { calls.push('countView') },
      search: async () => 'found',
      un: async () => 'done'
    }
    await new (Object.getPrototypeOf(async () => {}).constructor)(...Object.keys(world), piece)(...Object.values(world))
    await app.ready()
    await check(app, piece, calls)
  }

  /** Green as long as visitors are to see the page; red where somebody else is to take over. */
  async function checkProbes (app: FastifyInstance, piece: string) {
    const status = async (url: string) => (await app.inject(url)).statusCode
    const urls = [...piece.matchAll(/'(\/\w+z)'/g)].map(([, url = '']) => url)
    for (const url of urls) t.equal(await status(url), 200)
    await app.maintenance.set(true)
    t.equal(await status('/'), 503)
    for (const url of urls) t.equal(await status(url), url === '/drainz' ? 503 : 200, url)
    if (urls.includes('/readyz')) t.strictSame((await app.inject('/readyz')).json(), { ok: true, maintenance: true })
    await app.maintenance.drained()
    t.equal(app.maintenance.status().inFlight, 0, 'probes hold nothing up')
  }

  async function check (app: FastifyInstance, piece: string, calls: string[]) {
    if (piece.includes('upcoming')) {
      await app.maintenance.set(true, { startsAt: '2099-12-01T02:00:00+01:00', message: 'Moving' })
      t.equal((await app.inject('/')).body, 'Moving')
    } else if (piece.includes('schedule:')) {
      t.match(app.maintenance.status().upcoming, { mode: 'read-only', message: 'Weekly backup' })
    } else if (piece.includes('/search')) {
      await app.maintenance.set(true, { mode: 'read-only' })
      t.strictSame([(await app.inject({ method: 'POST', url: '/search' })).statusCode, (await app.inject('/unsubscribe')).statusCode], [200, 503])
    } else if (piece.includes('countView')) {
      t.strictSame(calls, ['countView'])
    } else if (piece.includes('wait: 60_000')) {
      t.strictSame(calls, ['migrate true'])
      t.equal(app.maintenance.active, false)
    } else if (piece.includes('closeStreams')) {
      t.equal(app.maintenance.status().streams, 0)
    } else if (piece.includes('z\'')) {
      await checkProbes(app, piece)
    } else if (piece.includes('run(')) {
      t.strictSame(calls, ['migrate true'])
      t.equal(app.maintenance.active, false)
    } else {
      t.match(await app.maintenance.set(true, { mode: 'hold' }), { active: true, held: 0 })
    }
  }
})
