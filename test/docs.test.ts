import view from '@fastify/view'
import { Eta } from 'eta'
import Fastify, { type FastifyInstance } from 'fastify'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
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
    for (const line of code.trim().split('\n').filter(line => line.startsWith('npx '))) {
      const { code, text } = await command(line, env)
      t.equal(code, 0, `${line}: ${text}`)
      printed = text
      commands++
    }
  }
  t.equal(commands, 6)
})

t.test('planning maintenance: every piece of code runs', async t => {
  const pieces = blocksOf('docs/planning-maintenance.md').filter(({ language }) => language === 'js').map(({ code }) => code)
  t.equal(pieces.length, 6)
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
    } else if (piece.includes('run(')) {
      t.strictSame(calls, ['migrate true'])
      t.equal(app.maintenance.active, false)
    } else {
      t.match(await app.maintenance.set(true, { mode: 'hold' }), { active: true, held: 0 })
    }
  }
})

t.test("the README's figures are taken from the results by a script, which says what is missing or no longer the same", async t => {
  const row = '| off | 1.5 | 0.00 |\n| on | 2.5 | 0.00 |\n'
  const dir = t.testdir({
    'README.md': '# Title\n\n<!-- benchmarks -->\n<!-- /benchmarks -->\n\nMore.\n',
    'none.md': '# Title\n',
    'results.md': `- date: today\n\n### The hook alone\n\n|  | over the empty hook | heap bytes/call |\n| --- | ---: | ---: |\n${row}`,
    'figures.json': JSON.stringify([['open', 'The hook alone', 'off', 'over the empty hook', ' ns']]),
    'others.json': JSON.stringify([['open', 'The hook alone', 'off', 'no such column', ' ns']])
  })
  const run = (readme: string, ...more: string[]) => {
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'benchmarks/readme.ts', '--readme', join(dir, readme), '--results', join(dir, 'results.md'), ...more], { encoding: 'utf8', env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' } })
    return { status, stderr }
  }
  const figures = ['--figures', join(dir, 'figures.json')]

  t.match(run('none.md', ...figures), { status: 1, stderr: /none\.md needs the lines <!-- benchmarks --> and <!-- \/benchmarks -->/ })
  t.match(run('README.md', '--figures', join(dir, 'others.json')), { status: 1, stderr: /no table 'The hook alone' with a row 'off' and a column 'no such column'/ })
  t.match(run('README.md', '--check', ...figures), { status: 1, stderr: /are not those of/ })
  t.equal(run('README.md', ...figures).status, 0)
  t.match(readFileSync(join(dir, 'README.md'), 'utf8'), /^# Title\n\n<!-- benchmarks -->\n\n\| \| \|\n.*\n\| open \| 1\.5 ns \|\n[^]*date: today[^]*<!-- \/benchmarks -->\n\nMore\.\n$/)
  t.equal(run('README.md', '--check', ...figures).status, 0)
  writeFileSync(join(dir, 'results.md'), readFileSync(join(dir, 'results.md'), 'utf8').replace('1.5', '9.5'))
  t.match(run('README.md', '--check', ...figures), { status: 1, stderr: /are not those of/ })
})
