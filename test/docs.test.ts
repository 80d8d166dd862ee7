import Database from 'better-sqlite3'
import basicAuth from '@fastify/basic-auth'
import view from '@fastify/view'
import { Eta } from 'eta'
import Fastify, { type FastifyInstance } from 'fastify'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, normalize } from 'node:path'
import t, { type Test as TapTest } from 'tap'
import { parseAllDocuments } from 'yaml'
import maintenance from '../index.ts'
import maintenanceAdmin from '../lib/admin/index.ts'
import { COMMANDS, type CommandName } from '../lib/cli/commands.ts'
import { helpOf } from '../lib/cli/help.ts'
import { readArguments } from '../lib/cli/parse.ts'
import { readOptions } from '../lib/options.ts'
import type { FastifyMaintenanceOptions } from '../types/index.ts'
import { blocksIn, blocksOf, command, masked, runPiece } from './fixtures/docs.ts'
import { noNginx, startNginx } from './fixtures/nginx.ts'

// Runs the commands and code of the pages and checks their promises. Blocks that need the installed package
// (the quick start of the README, node --test) is in package.test.ts.

interface Test { teardown (work: () => unknown): void }

const README = readFileSync('README.md', 'utf8')
const PAGES = [
  'README.md',
  'SECURITY.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync('docs').filter(file => file.endsWith('.md')).map(file => join('docs', file))
]
const HELP = [null, ...Object.keys(COMMANDS) as CommandName[]].map(helpOf).join('')

/** The section of a page below a heading, with its subsections. */
function section (page: string, heading: string): string {
  const start = page.indexOf(`\n${heading}\n`)
  if (start < 0) throw new Error(`no heading ${heading}`)
  const level = heading.split(' ')[0]?.length ?? 0
  const rest = page.slice(start + heading.length + 2)
  const end = rest.search(new RegExp(`^#{1,${level}} `, 'm'))
  return end < 0 ? rest : rest.slice(0, end)
}

/** The application that the pages assume, and a directory for its state. */
async function createPageApp (t: Test, piece: string) {
  const directory = mkdtempSync(join(tmpdir(), 'maintenance-docs-'))
  const app = Fastify()
  t.teardown(async () => {
    await app.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const templates = mkdtempSync(join(directory, 'views-'))
  writeFileSync(join(templates, '503.eta'), '<%= it.message %>, <%= it.support %>')
  writeFileSync(join(templates, 'home.eta'), '<%= it.upcoming?.message %>')
  await app.register(view, { engine: { eta: new Eta() }, root: templates })
  // stands in for @fastify/session
  app.decorateRequest('session').addHook('onRequest', async request => {
    Object.assign(request, { session: { user: { isStaff: request.headers['x-user'] === 'staff' } } })
  })
  if (!piece.includes('app.register(maintenance,')) await app.register(maintenance, { bypass: {} })
  return { app, directory }
}

/** Checks comments such as `// a === b, c === d` in a piece of code. */
const withPromises = (piece: string): string => piece.replace(/^\/\/ (.* === .*)$/gm, (_line, promises: string) =>
  promises.split(', ').map(promise => `promise(${promise}, ${JSON.stringify(promise)})`).join('; '))

/** Runs the commands of a page in order with a running server, and compares their output with the page. */
async function typeCommands (t: TapTest, page: string): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'maintenance-docs-'))
  const file = join(directory, 'maintenance.json')
  const app = Fastify()
  t.teardown(async () => {
    await app.close()
    rmSync(directory, { recursive: true, force: true })
  })
  await app.register(maintenance, { store: { file }, sites: ['default', 'shop', 'blog'], bypass: {} })
  await app.ready()
  let printed = ''
  let commands = 0
  for (const { language, code, notRun } of blocksIn(page)) {
    if (language === '' && commands > 0) t.equal(masked(printed), masked(code), 'prints the same as on the page')
    if (language !== 'sh' || notRun !== undefined) continue
    for (const line of code.trim().split(/\n| && /).filter(line => line.startsWith('npx fastify-maintenance '))) {
      const { code, text } =
        await command(line.replace('file:./maintenance.json', `file:${file}`), { MAINTENANCE_STORE: `file:${file}` })
      t.ok(code === 0 || (code === 4 && line.includes('status')), `${line}: ${text}`)
      printed = text
      commands++
    }
  }
  return commands
}

t.test('README', async t => {
  t.test('every block is run here or by the quick start, or explains why not', async t => {
    const walked = blocksIn(section(README, '## Install') + section(README, '## Quick start'))
    const here = blocksIn(README).filter(block => !walked.some(({ code }) => code === block.code))
    t.strictSame([...new Set(here.map(({ language }) => language))].sort(), ['', 'js', 'sh'])
    for (const { code } of here.filter(({ language, notRun }) => language === 'sh' && notRun === undefined)) {
      t.match(code, /^(npx fastify-maintenance .*\n)+$/, 'commands that typeCommands types')
    }
    t.equal(here.filter(({ notRun }) => notRun !== undefined).length, 2, 'only a few are not run')
  })

  t.test('commands and their output', async t => {
    t.equal(await typeCommands(t, README.slice(0, README.indexOf('## Install'))), 1)
    t.equal(await typeCommands(t, section(README, '## Who still gets in')), 1)
    t.equal(await typeCommands(t, section(README, '## Recipes')), 4)
    t.equal(await typeCommands(t, section(README, '## The command')), 2)
  })

  t.test('the tables have all options and members', async t => {
    const namesIn = (heading: string) => [...new Set([
      ...section(README, heading).matchAll(/^\| (.*?) \|/gm)
    ].flatMap(([, cell = '']) => [...cell.matchAll(/`([\w.]+)/g)].map(([, name]) => name)))].sort()
    const nested: Record<string, string> = {
      ignore: 'IgnoreOptions',
      bypass: 'BypassOptions',
      response: 'ResponseOptions',
      hold: 'HoldOptions',
      closeStreams: 'CloseStreamsOptions',
      fence: 'FenceOptions'
    }
    const options = membersOf('FastifyMaintenanceOptions').flatMap(
      name => nested[name] === undefined ? [name] : membersOf(nested[name]).map(member => `${name}.${member}`)
    )
    t.strictSame(namesIn('## Options'), options.sort())
    t.strictSame(namesIn('## `app.maintenance`'), [...new Set(membersOf('Maintenance'))].sort())
  })

  t.test('the command: every command, and only existing options', async t => {
    const [synopsis] = blocksIn(section(README, '## The command'))
    t.strictSame([
      ...synopsis?.code.matchAll(/^ {2}(\w+)/gm) ?? []
    ].map(([, name]) => name), [...Object.keys(COMMANDS), 'help'])
    t.strictSame(optionsIn(synopsis?.code ?? '').filter(option => !optionsIn(HELP).includes(option)), [])
  })
})

const optionsIn = (text: string): string[] => [...new Set(text.match(/--[a-z]+(-[a-z]+)*/g))].sort()

t.test('docs/command.md: exactly the existing options', async t => {
  const [synopsis] = blocksOf('docs/command.md')
  t.strictSame(optionsIn(synopsis?.code ?? ''), optionsIn(HELP))
})

t.test('docs/options.md: exactly the existing options, with their defaults', async t => {
  let shown: FastifyMaintenanceOptions = { whenUnknown: 'closed' }
  const [piece] = blocksOf('docs/options.md')
  await runPiece(piece?.code ?? '', {
    app: { register: async (_plugin: unknown, options: FastifyMaintenanceOptions) => { shown = options } }, maintenance
  })
  t.strictSame(readOptions(shown), readOptions({}))
  t.strictSame(Object.keys(shown).sort(), membersOf('FastifyMaintenanceOptions').sort())
})

/** Checks the effects of a page's piece of code. `calls` lists the calls it made. */
type Check = (app: FastifyInstance, t: TapTest, calls: string[]) => Promise<unknown>

const isBlocked = async (app: FastifyInstance, url: string) => (await app.inject(url)).statusCode === 503

/** Ready while visitors should see the page; not ready if another region should take over. */
const checkProbes = (urls: string[], whileClosed: number): Check => async (app, t) => {
  const status = async (url: string) => (await app.inject(url)).statusCode
  for (const url of urls) t.equal(await status(url), 200)
  await app.maintenance.set(true)
  t.equal(await status('/'), 503)
  for (const url of urls) t.equal(await status(url), whileClosed, url)
  await app.maintenance.drained()
  t.equal(app.maintenance.status().inFlight, 0, 'probes do not delay a drain')
}

/** `'read'` and `'write'` of routes, in both modes. */
const checkReadOnly: Check = async (app, t) => {
  const ask = async () => [
    (await app.inject({ method: 'POST', url: '/search' })).statusCode, (await app.inject('/unsubscribe')).statusCode
  ]
  await app.maintenance.set(true, { mode: 'read-only' })
  t.strictSame(await ask(), [200, 503])
  await app.maintenance.set(true)
  t.strictSame(await ask(), [503, 503])
}

const checkRun: Check = async (app, t, calls) => {
  t.strictSame(calls, ['migrate true'])
  t.equal(app.maintenance.active, false)
}

/** The pages, with a check for each piece of code. */
const PIECES: Record<string, Check[]> = {
  'README.md': [
    async (app, t) => {
      await app.maintenance.set(true)
      t.strictSame([await isBlocked(app, '/health'), await isBlocked(app, '/')], [false, true])
    },
    async (app, t) => {
      await app.maintenance.set(true)
      app.get('/', async () => 'open')
      const from = async (address: string, remoteAddress = '10.0.0.1') =>
        (await app.inject({ url: '/', remoteAddress, headers: { 'x-forwarded-for': address } })).statusCode
      t.strictSame([
        await from('192.0.2.7'), await from('203.0.113.7'), await from('192.0.2.7', '203.0.113.7')
      ], [200, 503, 503])
    },
    async (app, t) => {
      app.get('/', async () => 'open')
      await app.maintenance.set(true)
      const as = async (user: string) => (await app.inject({ url: '/', headers: { 'x-user': user } })).statusCode
      t.strictSame([await as('staff'), await as('anyone')], [200, 503])
    },
    async (app, t) => t.match(await app.maintenance.set(true, { bypass: true }), {
      bypass: { path: /^\/maintenance\/bypass#/ }
    }),
    checkReadOnly,
    checkRun,
    async (app, t) => {
      await app.ready()
      t.equal(app.maintenance.status().store.kind, 'redis')
    },
    async (app, t) => {
      await app.maintenance.set(true, { message: 'Moving' })
      t.match(await app.inject({ url: '/', headers: { accept: 'text/html' } }), {
        statusCode: 503, body: 'Moving, help@example.com'
      })
    },
    async (app, t) => {
      await app.maintenance.set(true)
      const as = async (password: string) =>
        (await app.inject({
          url: '/maintenance/', headers: { authorization: `Basic ${Buffer.from(`ops:${password}`).toString('base64')}` }
        })).statusCode
      t.strictSame([await as('right'), await as('wrong'), await as('undefined')], [200, 401, 401])
    },
    async (_app, t, calls) => t.strictSame(calls, ['the shop is closed'])
  ],
  'docs/databases.md': [
    async (app, t) => {
      await app.maintenance.set(true)
      t.match(app.maintenance.status(), { active: true, store: { kind: 'sql', connected: true } })
    }
  ],
  'docs/deploying.md': [async (app, t) => t.equal(app.maintenance.status().store.kind, 'memory')],
  'docs/options.md': [
    async () => {}, // all options: see above
    async (app, t) => {
      await checkReadOnly(app, t, [])
      t.strictSame([await isBlocked(app, '/about'), await isBlocked(app, '/legacy')], [false, true])
      await app.maintenance.set(false)
      t.strictSame([await isBlocked(app, '/about'), await isBlocked(app, '/legacy')], [false, true])
    }
  ],
  'docs/api.md': [
    async (app, t, calls) => {
      await checkRun(app, t, calls)
      t.strictSame((await app.maintenance.history()).map(({ kind, ended }) => ended ? 'ended' : kind), [
        'ended', 'run', 'opened', 'cancelled', 'planned', 'changed', 'closed'
      ])
    }
  ],
  'docs/planning-maintenance.md': [
    async (app, t) => {
      await app.maintenance.set(true, { startsAt: '2099-12-01T02:00:00+01:00', message: 'Moving' })
      t.equal((await app.inject('/')).body, 'Moving')
    },
    async (app, t) => {
      const { message, endsAt, closedSince } = app.maintenance.status()
      t.equal(message, 'Back in half an hour')
      t.equal(Date.parse(endsAt as string) - Date.parse(closedSince as string), 3_600_000)
    },
    async (app, t) => {
      app.get('/', async () => 'open')
      app.get('/checkout/cart', async () => 'open')
      const from = async (url: string, remoteAddress: string) => (await app.inject({ url, remoteAddress })).statusCode
      t.strictSame([
        await from('/', '203.0.113.7'),
        await from('/checkout/cart', '203.0.113.7'),
        await from('/checkout/cart', '192.0.2.7')
      ], [200, 503, 200])
    },
    async (app, t) => t.match(app.maintenance.status().upcoming, { mode: 'read-only', message: 'Weekly backup' }),
    checkReadOnly,
    async (_app, t, calls) => t.strictSame(calls, ['countView']),
    checkRun,
    checkRun,
    async (_app, t, calls) => t.strictSame(calls, ['invoices']),
    async (app, t) => t.equal(app.maintenance.status().streams, 0),
    async (app, t) => {
      await checkProbes(['/livez', '/readyz'], 200)(app, t, [])
      t.strictSame((await app.inject('/readyz')).json(), { ok: true, maintenance: true })
    },
    checkProbes(['/drainz'], 503),
    async (app, t) => t.match(await app.maintenance.set(true, { mode: 'hold' }), { active: true, held: 0 })
  ],
  'docs/coming-from-django.md': [
    async (app, t) => {
      app.get('/api/x', async () => 'ignored')
      app.get('/', async () => 'open')
      await app.maintenance.set(true, { message: 'Moving' })
      t.equal(await isBlocked(app, '/api/x'), false)
      t.match(await app.inject({ url: '/', headers: { accept: 'text/html' } }), {
        statusCode: 503, body: 'Moving, help@example.com', headers: { 'retry-after': '600' }
      })
    },
    async (app, t) => {
      await app.maintenance.set(true)
      t.equal(await isBlocked(app, '/partners'), false)
      await app.maintenance.set(false)
      t.equal(await isBlocked(app, '/partners/old'), true)
    }
  ],
  'docs/coming-from-laravel.md': [
    async (app, t, calls) => {
      await app.maintenance.set(true)
      await app.maintenance.set(false)
      t.strictSame(calls, ['pause', 'resume'])
    }
  ],
  'docs/when-something-breaks.md': [
    async (app, t) => {
      await app.maintenance.set(true, { by: 'ops' })
      t.match((await app.inject('/internal/maintenance')).json(), {
        active: true, source: 'store', by: 'ops', store: { error: null }
      })
    },
    async (app, t) => {
      t.match(app.maintenance.status(), { active: false, source: 'pinned' })
    }
  ],
  'docs/testing-your-app.md': [
    async (app, t) => t.equal(app.maintenance.status().source, 'pinned'),
    async (app, t) => t.equal(app.maintenance.active, true),
    async (app, t) => {
      await app.maintenance.set(true)
      t.match((await app.inject('/why')).json(), { blocked: false, reason: 'route-off', active: true })
    },
    async () => {}
  ],
  'docs/file-store.md': [async (app, t) => t.equal(app.maintenance.status().store.kind, 'file')],
  'docs/ignored-routes.md': [
    async (app, t) => {
      app.get('/assets/:file', async () => 'ignored')
      app.get('/admin/x', async () => 'ignored')
      app.get('/admin', async () => 'refused')
      app.get('/health', async () => 'ignored')
      await app.maintenance.set(true)
      const from = async (
        url: string, remoteAddress = '192.0.2.1'
      ) => (await app.inject({ url, remoteAddress })).statusCode
      t.strictSame(await Promise.all([
        from('/assets/x'), from('/admin/x'), from('/admin'), from('/health'), from('/admin', '10.1.2.3')
      ]), [200, 200, 503, 200, 200])
    }
  ]
}

/** The number of commands on each page that has any. */
const TYPED: Record<string, number> = { 'docs/planning-maintenance.md': 13, 'docs/coming-from-laravel.md': 3 }

t.test('every piece of code', async t => {
  for (const [page, checks] of Object.entries(PIECES)) {
    t.test(page, async t => {
      const walked = page === 'README.md' ? section(README, '## Quick start') : ''
      // package.test.ts runs files with a name
      const pieces = blocksOf(page).filter(({ language, code }) => language === 'js' && !/^\/\/ \S+\.js\n/.test(code) &&
        !walked.includes(code)).map(({ code }) => code)
      t.equal(pieces.length, checks.length, 'one check per piece')
      for (const [index, piece] of pieces.entries()) await runAndCheck(t, piece, checks[index] as Check)
    })
  }
})

async function runAndCheck (t: TapTest, piece: string, check: Check): Promise<void> {
  const { app, directory } = await createPageApp(t, piece)
  const calls: string[] = []
  const handler = async () => 'ran'
  const scope = {
    ...{ maintenance, maintenanceAdmin, basicAuth, Database, Fastify, mkdtemp, rm, tmpdir, join, assert },
    ...{ about: handler, legacy: handler, search: handler, un: handler, unsubscribe: handler },
    // a piece that creates its own application
    ...(/^const app = /m.test(piece) ? {} : { app }),
    process: { env: { ADMIN_PASSWORD: 'right' } },
    request: { maintenance: { mode: null } },
    queue: { pause: () => calls.push('pause'), resume: () => calls.push('resume') },
    migrate: async () => calls.push(`migrate ${app.maintenance.active}`),
    countView: async () => calls.push('countView'),
    sendInvoices: async () => calls.push('invoices'),
    async buildApp (options: FastifyMaintenanceOptions) {
      const app = Fastify()
      await app.register(maintenance, options)
      return app.get('/', handler)
    },
    test: (name: string, work: () => Promise<void>) => t.test(name, work).then(() => calls.push(name)),
    promise: (kept: boolean, what: string) => t.ok(kept, what)
  }
  const here = withPromises(piece).replaceAll('./maintenance.json', join(directory, 'state.json')).replaceAll(
    './maintenance-mirror.json',
    join(directory, 'mirror.json')
  )
    .replace('app.db', join(directory, 'app.db'))
    .replace(/^test\(/m, 'await test(')
  const used = await runPiece(`${here}\nreturn app`, scope) as FastifyInstance
  if (used !== app) t.teardown(() => used.close())
  await check(used, t, calls)
}

t.test('every command', async t => {
  // cli-tasks.test.ts types those of docs/command.md
  for (const page of readdirSync('docs').filter(
    file => file.endsWith('.md') && file !== 'command.md'
  ).map(file => `docs/${file}`)) {
    const text = readFileSync(page, 'utf8')
    const typed = await typeCommands(t, text)
    if (TYPED[page] !== undefined) t.equal(typed, TYPED[page], page)
  }
})

t.test('docs/deploying.md: the files are well-formed, and the command takes its arguments', async t => {
  const page = readFileSync('docs/deploying.md', 'utf8')
  const documents =
    blocksIn(page).filter(({ language }) => language === 'yaml').flatMap(({ code }) => parseAllDocuments(code))
  t.strictSame(documents.flatMap(({ errors }) => errors), [])
  const [, , , job] = documents.map(document => document.toJS())
  t.equal(job.kind, 'Job')
  const inJob = job.spec.template.spec.containers[0].command.slice(2)
  for (const { code } of blocksIn(page).filter(({ language }) => language === 'json')) t.ok(JSON.parse(code))
  const inText = [
    ...page.matchAll(/(?<=npx fastify-maintenance )[^`\n|]+/g)
  ].map(([line]) => line.match(/"[^"]*"|\S+/g) as string[])
  t.ok(inText.length > 5)
  for (const args of [inJob, ...inText]) {
    t.ok('name' in (readArguments(args, { MAINTENANCE_STORE: 'file:./state.json' }) as object), args.join(' '))
  }
})

t.test('docs/deploying.md: nginx passes on the 503', { skip: noNginx }, async t => {
  const [config] = blocksOf('docs/deploying.md').filter(({ language }) => language === 'nginx')
  const app = Fastify({ trustProxy: '127.0.0.1' })
  t.teardown(() => app.close())
  await app.register(maintenance, { ignore: { ips: ['192.0.2.7'] } })
  app.get('/', async request => request.ip)
  const upstream = new URL(await app.listen({ port: 0, host: '127.0.0.1' })).host
  await app.maintenance.set(true, { message: 'Moving' })
  const url = await startNginx(t, (_folder, port) => (config?.code ?? '').replace('127.0.0.1:3000', upstream).replace(
    'listen 8080',
    `listen 127.0.0.1:${port}`
  ))
  for (let i = 0; i < 3; i++) {
    const answer = await fetch(url, { headers: { accept: 'text/html' } })
    t.strictSame([
      answer.status, answer.headers.get('retry-after'), (await answer.text()).includes('Moving')
    ], [503, '300', true])
  }
  t.equal((await fetch(url, {
    headers: { 'x-forwarded-for': '192.0.2.7' }
  })).status, 503, 'a visitor cannot choose an address')
  await app.maintenance.set(false)
  t.equal(await (await fetch(url)).text(), '127.0.0.1')
})

t.test('docs/README.md lists every page, docs/errors.md every code', async t => {
  const index = readFileSync('docs/README.md', 'utf8')
  t.strictSame(readdirSync('docs').filter(
    file => file.endsWith('.md') && file !== 'README.md' && !index.includes(`](${file})`)
  ), [])
  const errors = readFileSync('docs/errors.md', 'utf8')
  const codes = [
    ...readFileSync('lib/errors.ts', 'utf8').matchAll(/'(FST_ERR_MAINTENANCE\w*)',/g)
  ].map(([, code = '']) => code)
  t.ok(codes.length >= 14, codes.join())
  t.strictSame(codes.filter(code => !errors.includes(`\`${code}\``)), [])
})

t.test('links and anchors have targets', async t => {
  const anchors = new Map<string, Set<string>>()
  const prose = (file: string) => readFileSync(file, 'utf8').replace(/^```[^]*?^```$|<!--[^]*?-->/gm, '')

  function anchorsOf (file: string): Set<string> {
    const seen = anchors.get(file)
    if (seen !== undefined) return seen
    const slugs = [...prose(file).matchAll(/^#{1,6} (.*)$/gm)].map(([, heading = '']) =>
      heading.replace(/\[(.*?)\]\(.*?\)/g, '$1').toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').trim()
        .replace(/\s/g, '-'))
    anchors.set(file, new Set(slugs))
    return anchorsOf(file)
  }

  let links = 0
  for (const page of PAGES) {
    for (const [, target = ''] of prose(page).replace(/`[^`\n]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)) {
      links++
      if (/^https:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : normalize(join(dirname(page), path))
      if (!existsSync(file)) t.fail(`${page}: ${target}`)
      else if (anchor !== undefined && !anchorsOf(file).has(anchor)) t.fail(`${page}: no such anchor: ${target}`)
    }
  }
  t.ok(links > 50, `${links} links`)
})

t.test('every claim names an existing test', async t => {
  const sources = new Map<string, string>()
  let claims = 0
  for (const page of PAGES) {
    for (const [, file = '', names = ''] of readFileSync(page, 'utf8').matchAll(
      /`((?:test|benchmarks)\/[\w./-]+\.ts)`((?:,? ?\*[^*\n]+\*)*)/g
    )) {
      if (!existsSync(file)) t.fail(`${page}: ${file}`)
      else if (!sources.has(file)) sources.set(file, readFileSync(file, 'utf8'))
      for (const [, name = ''] of names.matchAll(/\*([^*]+)\*/g)) {
        claims++
        if (!["'", '"', '`'].some(quote => sources.get(file)?.includes(`t.test(${quote}${name}${quote}`))) {
          t.fail(`${page}: ${file} has no test '${name}'`)
        }
      }
    }
  }
  t.ok(claims > 60, `${claims} claims`)

  const table = readFileSync('docs/comparison.md', 'utf8')
  const notes = new Map([...table.matchAll(/^\[\^([\w-]+)\]: (.*)$/gm)].map(([, name, text]) => [name, text]))
  const used = new Set([...table.matchAll(/\[\^([\w-]+)\](?!:)/g)].map(([, name]) => name))
  t.strictSame([...used].sort(), [...notes.keys()].sort(), 'every footnote exists and is used')
  const rows = table.split('\n').filter(line => /^\| [^-]/.test(line)).slice(1)
  t.ok(rows.length >= 19)
  for (const row of rows) {
    const [feature, ours = '', ...theirs] = row.split(/(?<!\\)\|/).slice(1, -1).map(cell => cell.trim())
    t.match(
      notes.get(/\[\^([\w-]+)\]$/.exec(ours)?.[1]),
      /`(test|benchmarks)\//,
      `${feature}: our claim names its test`
    )
    t.strictSame(theirs.filter(cell => !/^$|\[\^[\w-]+\]$/.test(cell)), [], 'claims about others name their source')
  }
})

/** The source without comments. */
const publicTypes = ['types/index.ts', 'types/admin.ts'].map(
  file => readFileSync(file, 'utf8').replaceAll(/^ *\/\*\*[^]*?\*\/\n/gm, '')
).join('')

/** The names of an interface's members. */
function membersOf (name: string): string[] {
  const body = new RegExp(`^export interface ${name}\\b.*\\{\\n([^]*?)^\\}$`, 'm').exec(publicTypes)?.[1] ?? ''
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??(?=[:<( ])/gm)].map(([, member = '']) => member)
}

t.test('every public name is in the documentation', async t => {
  const pages = PAGES.map(page => readFileSync(page, 'utf8'))
  const code = pages.flatMap(page => [...page.matchAll(/^```[^]*?^```$|`[^`\n]+`/gm)].map(([text]) => text)).join('\n')
  const isNamed = (name: string) => new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(code)

  const interfaces = [...publicTypes.matchAll(/^export interface (\w+)/gm)].map(([, name = '']) => name)
  t.ok(interfaces.length > 20)
  for (const name of interfaces) {
    const missing = membersOf(name).filter(member => !isNamed(member))
    t.strictSame(missing, [], `${name}: all members are documented`)
  }
  // texts of the admin page have their own names
  const types = publicTypes.replace(/^import .*\n|^export type AdminText =[^]*?\n\n/gm, '')
  const literals = [
    ...types.matchAll(/'([a-z]+(?:-[a-z]+)*)'/g)
  ].map(([, literal = '']) => literal).filter(literal => literal !== 'fastify')
  t.strictSame(literals.filter(literal => !isNamed(literal)), [], 'all values are documented')

  const codes = [
    ...readFileSync('lib/errors.ts', 'utf8').matchAll(/'(FST_ERR_MAINTENANCE_\w+)'/g)
  ].map(([, code = '']) => code)
  t.ok(codes.length >= 9, codes.join())
  // internal: marks a corrupt record
  t.strictSame(codes.filter(code => code !== 'FST_ERR_MAINTENANCE_UNREADABLE' && !isNamed(code)), [])
  t.strictSame(optionsIn(HELP).filter(option => !isNamed(option)), [])
})

t.test('SECURITY.md names every dependency', async t => {
  const named = [
    ...section(readFileSync('SECURITY.md', 'utf8'), '## Dependencies').split('. ')[0]?.matchAll(/`([^`]+)`/g) ?? []
  ].map(([, name]) => name)
  t.strictSame(named, Object.keys(JSON.parse(readFileSync('package.json', 'utf8')).dependencies))
})

/** The features of the two Django packages, from their source. */
const DJANGO = `
MAINTENANCE_MODE _STATE_BACKEND _STATE_FILE_NAME _STATE_FILE_PATH _CACHE_BACKEND _STATE_BACKEND_FALLBACK_VALUE _GET_CLIENT_IP_ADDRESS
_GET_AUTHENTICATED_USER _GET_CONTEXT _GET_TEMPLATE_CONTEXT _IGNORE_ADMIN_SITE _IGNORE_ANONYMOUS_USER _IGNORE_AUTHENTICATED_USER _IGNORE_STAFF
_IGNORE_SUPERUSER _IGNORE_IP_ADDRESSES _IGNORE_URLS _IGNORE_TESTS _LOGOUT_AUTHENTICATED_USER _LOGOUT_STAFF_USER _LOGOUT_SUPERUSER
_REDIRECT_URL _RESPONSE_TYPE _RETRY_AFTER _STATUS_CODE _TEMPLATE
maintenance_mode.middleware.MaintenanceModeMiddleware need_maintenance_response(request) get_maintenance_mode()
LocalFileBackend DefaultStorageBackend StaticStorageBackend CacheBackend AbstractStateBackend get_value set_value
from_state_to_str_value from_str_to_state_value from_bool_to_str_value from_str_to_bool_value
override_maintenance_mode(value) maintenance_mode_on() maintenance_mode_off() force_maintenance_mode_off force_maintenance_mode_on
maintenance_mode_on on/ maintenance_mode_off off/ maintenance_mode.context_processors.maintenance_mode maintenance_mode
RequireNotMaintenanceMode503 503.html --start --end --interactive --verbosity
SITE_ID INTERNAL_IPS MAINTENANCE_BLOCK_STAFF MAINTENANCE_ADMIN_IGNORED_URLS MAINTENANCE_503_TEMPLATE
maintenancemode.middleware.MaintenanceModeMiddleware Maintenance site Maintenance.is_being_performed IgnoredURL maintenance
IgnoredURL.pattern IgnoredURL.description populate() handler503 request_path --ignore-missing -i AppSettings
`.trim().split(/\s+/)

t.test('coming from Django: every feature of the two packages has its counterpart', async t => {
  const rows = readFileSync('docs/coming-from-django.md', 'utf8').split('\n').filter(
    line => line.startsWith('| ') && !line.startsWith('| ---')
  )
    .map(line => line.split(/(?<!\\)\|/).slice(1, -1).map(cell => cell.trim()))
  t.ok(rows.every(cells => cells.length === 2 && cells.every(cell => cell !== '')), 'every row has a counterpart')
  const there = new Set(rows.flatMap(
    ([name = '']) => [...name.matchAll(/`([^`]+)`/g)].flatMap(([, code = '']) => [code, ...code.split(', ')])
  ))
  t.strictSame(DJANGO.filter(name => !there.has(name)), [])
})

t.test("a script takes the README's figures from the results, and reports missing and changed ones", async t => {
  const row = '| off | 1.5 | 0.00 |\n| on | 2.5 | 0.00 |\n'
  const dir = t.testdir({
    'README.md': '# Title\n\n<!-- benchmarks -->\n<!-- /benchmarks -->\n\nMore.\n',
    'none.md': '# Title\n',
    'results.md': `- date: today\n\n### The hook alone\n\n|  | over the empty hook | heap bytes/call |\n| --- | ---: | ---: |\n${row}\n### Over sockets\n\n|  | CPU ratio | 95 % |\n| --- | ---: | ---: |\n| off | 1.01 | 0.9 to 1.1 |\n`,
    'figures.json': JSON.stringify([
      ['open', 'The hook alone', 'off', 'over the empty hook', ' ns'], ['all', 'Over sockets', 'off', 'CPU ratio', '']
    ]),
    'others.json': JSON.stringify([['open', 'The hook alone', 'off', 'no such column', ' ns']])
  })
  const run = (readme: string, ...more: string[]) => {
    const { status, stderr } = spawnSync(process.execPath, [
      '--import', 'tsx', 'benchmarks/readme.ts', '--readme', join(dir, readme), '--results', join(dir, 'results.md'),
      ...more
    ], { encoding: 'utf8', env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' } })
    return { status, stderr }
  }
  const figures = ['--figures', join(dir, 'figures.json')]

  t.match(run('none.md', ...figures), {
    status: 1, stderr: /none\.md needs the lines <!-- benchmarks --> and <!-- \/benchmarks -->/
  })
  t.match(run('README.md', '--figures', join(dir, 'others.json')), {
    status: 1, stderr: /no table 'The hook alone' with a row 'off' and a column 'no such column'/
  })
  t.match(run('README.md', '--check', ...figures), { status: 1, stderr: /are not those of/ })
  t.equal(run('README.md', ...figures).status, 0)
  t.match(
    readFileSync(join(dir, 'README.md'), 'utf8'),
    /^# Title\n\n<!-- benchmarks -->\n\n\| \| \|\n.*\n\| open \| 1\.5 ns \|\n\| all \| 1\.01 \(0\.9 to 1\.1\) \|\n[^]* on today; [^]*<!-- \/benchmarks -->\n\nMore\.\n$/
  )
  t.equal(run('README.md', '--check', ...figures).status, 0)
  writeFileSync(join(dir, 'results.md'), readFileSync(join(dir, 'results.md'), 'utf8').replace('1.5', '9.5'))
  t.match(run('README.md', '--check', ...figures), { status: 1, stderr: /are not those of/ })
})
