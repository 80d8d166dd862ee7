import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { main } from '../lib/cli/main.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import { createApp, until, stateFile } from './fixtures/app.ts'

type Env = NodeJS.ProcessEnv

const BIN = join(process.cwd(), 'lib/cli/bin.ts')

/** Starts the command as a process, from its sources, so that its coverage counts. */
function start (args: string[], env: Env, cwd = process.cwd()) {
  const child = spawn(process.execPath, [...process.execArgv, BIN, ...args], {
    env: { ...process.env, ...env }, cwd, stdio: ['ignore', 'pipe', 'pipe']
  })
  const ended = Promise.all([
    once(child, 'exit'), text(child.stdout), text(child.stderr)
  ]).then(([[code], out, err]) => ({ code: code as number, out, err }))
  return { child, ended }
}

const command = (args: string[], env: Env, cwd?: string) => start(args, env, cwd).ended

/** The same in this process, for tests that only read the output. */
async function call (args: string[], env: Env) {
  let out = ''
  let err = ''
  const code = await main(args, env, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

/** A server with its site in a file. */
async function serve (t: Test, options = {}, files = {}) {
  t.teardown(() => {})
  const file = join(t.testdir(files), 'state.json')
  const { app } = await createApp(t, { store: { file }, ...options })
  app.get('/', async () => 'open')
  const base = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, base, file, env: { MAINTENANCE_STORE: `file:${file}` } }
}

t.test("run: the site is closed while the command runs, and the exit code is the command's", async t => {
  const { app, base, env } = await serve(t)
  const script = `fetch('${base}').then(({ status }) => { console.log(status); process.exit(7) })`
  const { code, out, err } = await command(['run', '--message', 'Upgrading', '--', process.execPath, '-e', script], env)
  t.strictSame([code, out], [7, '503\n'])
  t.match(err, /1 of 1 server closed[^]*site 'default' is closed, running[^]*site 'default' is open again\n$/)
  await until('the server follows', () => !app.maintenance.active)
  const [left, entered] = await app.maintenance.history()
  t.match([left, entered], [{ kind: 'run' }, { kind: 'run', message: 'Upgrading' }])
})

t.test('run on a closed site: the site stays as it was', async t => {
  const { app, env } = await serve(t)
  await app.maintenance.set(true, { message: 'Broken disk' })
  t.match(await command(['run', '--', 'true'], env), {
    code: 0, err: /stays closed: 'fastify-maintenance status default' shows by what/
  })
  t.match(app.maintenance.status(), { active: true, message: 'Broken disk' })
})

t.test('run: signals are passed on', async t => {
  const { app, env } = await serve(t)
  const { child, ended } = start([
    'run',
    '--',
    process.execPath,
    '-e',
    "process.on('SIGTERM', () => process.exit(5)); setInterval(() => {}, 1000); console.log('ready')"
  ], env)
  await once(child.stdout, 'readable')
  child.kill('SIGTERM')
  t.match(await ended, { code: 5 })
  const second = start(['run', '--', 'sh', '-c', 'echo ready; exec sleep 60'], env)
  await once(second.child.stdout, 'readable')
  second.child.kill('SIGHUP')
  t.match(await second.ended, { code: 129 })
  await until('the site is open', () => !app.maintenance.active)
})

t.test('run: a signal during the wait ends it, and the command never runs', async t => {
  const { app, base, env } = await serve(t)
  let answer = (): void => {}
  app.maintenance.track(() => new Promise<void>(resolve => { answer = resolve }), 'a job')
  t.teardown(() => answer())
  const { child, ended } = start(['run', '--wait=1m', '--stay-closed', '--', 'echo', 'ran'], env)
  await until('the site is closed', async () => (await fetch(base)).status === 503)
  child.kill('SIGINT')
  t.match(await ended, { code: 130, out: '', err: /interrupted by SIGINT, so nothing was run\n[^]*is open again/ })
  await until('the site is open', () => !app.maintenance.active)
  const late = await command(['run', '--wait=1s', '--stay-closed', '--', 'echo', 'ran'], env)
  t.match(late, { code: 3, out: '', err: /so nothing was run: [^]*a job[^]*is open again/ })
  await until('the site is open', () => !app.maintenance.active)
})

t.test('run: a command that cannot run changes nothing', async t => {
  const { app, file, env } = await serve(t, {}, { plain: 'text' })
  const folder = dirname(file)
  t.match(await call(['run', '--', 'no-such-command'], env), {
    code: 127, err: /no-such-command: command not found. Nothing was changed/
  })
  t.match(await call(['run', '--', join(folder, 'plain')], env), { code: 126, err: /permission denied/ })
  t.match(await call(['run', '--', folder], env), { code: 127 })
  const script = join(folder, 'no-interpreter')
  writeFileSync(script, '#!/no/such/interpreter\n')
  chmodSync(script, 0o755)
  t.match(await call(['run', '--no-wait', '--', script], env), { code: 126 }, 'detected only at its start')
  t.match(await call(['run'], env), {
    code: 2, err: /'run' needs a command behind --, such as: run -- npm run migrate/
  })
  t.match(await call(['run', './migrate.sh', '--all'], env), { code: 2, err: /unknown option '--all'/ })
  t.match(await call(['run', './migrate.sh'], env), { code: 2, err: /such as: run -- .\/migrate.sh/ })
  t.match(await call(['run', 'a', 'b', '--', 'true'], env), { code: 2, err: /takes one site/ })
  t.match(await call(['run', '--wait=1s', '--no-wait', '--', 'true'], env), { code: 2, err: /contradict each other/ })
  t.match(await call(['run', '--lease', '30', '--', 'true'], env), {
    code: 2, err: /--lease is '30', expected a unit: 30s/
  })
  t.match(await call(['run', '--json', '--', 'true'], env), { code: 2, err: /'run' has no option --json/ })
  t.match(await call(['run', '--in', '2h', '--', 'true'], env), { code: 2, err: /'run' has no option --in/ })
  t.match(await call(['run', 'shop', '--', 'true'], env), { code: 2, err: /site 'shop': neither stored/ })
  t.match(await call(['run', '--bypass', '--', 'true'], env), { code: 2, err: /the option bypass is not set/ })
  t.notMatch(readFileSync(file, { encoding: 'utf8', flag: 'a+' }), /"kind":"(now|planned)"/)
  t.notOk(app.maintenance.active)
})

t.test('run: a store that fails', async t => {
  const folder = t.testdir({
    'away.mjs': `let writes = 0
      const records = new Map()
      export default {
        read: async site => records.get(site) ?? null,
        async write (site, record) {
          if (writes++ >= Number(process.env.WRITES)) throw new Error('away')
          records.set(site, record)
          if (process.env.UNKNOWN && writes === 1) throw Object.assign(new Error('cut'), { code: 'FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN' })
        },
        watch () {}, close () {}
      }`
  })
  const { now } = performance
  t.teardown(() => { performance.now = now })
  t.teardown(() => { delete process.env.UNKNOWN })
  const attempt = (writes: string, name: string, ...argv: string[]) => {
    process.env.WRITES = writes
    // each with its own module
    writeFileSync(join(folder, name), readFileSync(join(folder, 'away.mjs')))
    return call(['run', '--force', '--no-wait', '--store', join(folder, name), '--', ...argv], {})
  }
  t.match(await attempt('0', 'at-once.mjs', 'true'), { code: 1, err: /nothing was changed: away/ })
  performance.now = () => now.call(performance) * 100
  t.match(await attempt('1', 'later.mjs', 'true'), {
    code: 1, err: /site 'default' could not be opened again and stays closed: fastify-maintenance off default --force/
  })
  t.match(await attempt('1', 'failed.mjs', 'sh', '-c', 'exit 7'), { code: 7, err: /could not be opened again/ })
  performance.now = now
  process.env.UNKNOWN = 'yes'
  t.match(await attempt('9', 'unknown.mjs', 'true'), { code: 1, err: /is open again/ }, 'the command never runs')
})

t.test('run: how the command is found, and its author', async t => {
  const { app, env } = await serve(t)
  const { child, ended } = start([
    'run', '--by', 'deploy', '--', process.execPath, '-e',
    "process.on('SIGINT', () => process.exit(6)); setInterval(() => {}, 1000); console.log('ready')"
  ], env)
  await once(child.stdout, 'readable')
  child.kill('SIGINT')
  t.match(await ended, { code: 6 })
  t.match(await app.maintenance.history(), [{ by: 'deploy' }, { by: 'deploy' }])
  const { PATH } = process.env
  t.teardown(() => { process.env.PATH = PATH })
  delete process.env.PATH
  t.match(await call(['run', '--', 'true'], env), { code: 127 })
})

t.test('run --bypass prints the link for testers once the site is closed', async t => {
  const { env } = await serve(t, { bypass: {} })
  const { code, err } = await call(['run', '--bypass', '--', 'true'], env)
  t.equal(code, 0)
  t.match(err, /^ {2}testers enter at \/maintenance\/bypass#\S+ \(shown once\)\n/)
})

t.test('run --stay-closed: a command that fails leaves the site closed', async t => {
  const { app, env } = await serve(t)
  t.match(await call(['run', '--stay-closed', '--message', 'Half migrated', '--', 'false'], env), {
    code: 1, err: /the command failed with exit code 1\n[^]*stays closed/
  })
  await app.maintenance.refresh()
  t.match(app.maintenance.status(), { active: true, message: 'Half migrated', windows: [{ kind: 'now' }] })
})

t.test('run: off --force sends SIGTERM to the command', async t => {
  const { app, env, file } = await serve(t)
  const { child, ended } = start(['run', '--', 'sh', '-c', 'echo ready; exec sleep 60'], env)
  await once(child.stdout, 'readable')
  t.match(await call(['off'], env), { code: 2, err: /kept closed by a run on .* use --force to end it/ })
  const [own] = await app.maintenance.servers()
  const entry = JSON.stringify({
    ...own, id: 'dead', pid: child.pid, startedAt: '2001-01-01T00:00:00.000Z', seenAt: '2001-01-01T00:00:00.000Z'
  })
  await createFileServers(file).heartbeat('dead', entry, 60_000)
  t.match(await call(['off'], env), { code: 2, err: /whose server is lost, .*\. Use --force to end it/ })
  t.match(await call(['off', '--force'], env), { code: 0 })
  t.match(await ended, { code: 143, err: /its window was removed. SIGTERM is sent to the command/ })
  t.notOk(app.maintenance.active)
})

t.test('run --lease: kill -9, and the site opens automatically', async t => {
  const { app, env } = await serve(t)
  const { child, ended } = start(['run', '--lease', '1s', '--', 'sh', '-c', 'echo $$; exec sleep 60 >&- 2>&-'], env)
  await once(child.stdout, 'readable')
  await until('the site is closed', () => app.maintenance.active)
  child.kill('SIGKILL')
  const job = Number((await ended).out)
  t.teardown(() => process.kill(job))
  await until('the lease has ended', () => !app.maintenance.active)
})

t.test('a store from a module, from package.json and from .env', async t => {
  const folder = t.testdir({
    'state.mjs': `import { readFileSync, writeFileSync, existsSync } from 'node:fs'
      const file = new URL('records.json', import.meta.url)
      const all = () => existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
      export default async () => ({
        read: async site => all()[site] ?? null,
        write: async (site, record) => writeFileSync(file, JSON.stringify({ ...all(), [site]: record })),
        watch () {}, close () {}
      })`,
    'plain.cjs': 'module.exports = { read: async () => null, write: async () => {}, watch () {}, close () {} }',
    'wrong.mjs': 'export const store = {}',
    'memory.mjs': "export default 'memory'",
    'slip.mjs': "export default { redis: 'redis://127.0.0.1:1', prefiks: 'shop:' }",
    'options.mjs': "export default () => ({ file: 'options.json' })",
    'throws.mjs': "throw new Error('no database here')",
    'option.mjs': "export default () => { throw Object.assign(new Error('needs the package pg'), { code: 'FST_ERR_MAINTENANCE_OPTION' }) }",
    'rejects.mjs': "export default async () => { throw new Error('connect ECONNREFUSED') }",
    sub: { 'package.json': '{ "fastify-maintenance": { "store": "../state.mjs" } }', deeper: {} },
    text: { 'package.json': '{ "fastify-maintenance": "file:here.json" }' },
    bad: { 'package.json': '{ "fastify-maintenance": { "file": 1 } }' },
    broken: { 'package.json': '{' },
    list: { 'package.json': '[]', '.env': "MAINTENANCE_STORE='file:quoted.json'\n" },
    redis: { 'package.json': '{ "fastify-maintenance": { "store": "redis://127.0.0.1:1", "prefix": "shop:" } }' },
    wrong: { 'package.json': '{ "fastify-maintenance": { "store": "redis://127.0.0.1:1", "prefix": 1 } }' },
    dot: { 'package.json': '{}', '.env': 'OTHER=1\nexport MAINTENANCE_STORE="file:dotted.json" # here\n' },
    other: { 'package.json': '{}', '.env': 'OTHER=1\n' },
    none: { 'package.json': '{}', '.env': 'MAINTENANCE_STORE=\n' }
  })
  const home = process.cwd()
  t.teardown(() => process.chdir(home))
  const at = (name: string, args: string[]) => {
    process.chdir(name === '/' ? name : join(folder, name))
    return call(args, {})
  }
  t.match(await at('.', ['on', '--store', './state.mjs', '--force']), { code: 0, err: /warning/ })
  t.match(
    await at('sub/deeper', ['status']),
    { code: 4, out: /stored in: .*state.mjs/ },
    'the path is relative to package.json'
  )
  t.match(await at('.', ['status', '--store', './plain.cjs']), { code: 0, out: /nothing stored/ })
  t.match(await at('.', ['status', '--store', './wrong.mjs']), {
    code: 2, err: /wrong.mjs has to export a store by default, or what the option store takes/
  })
  t.match(await at(
    '.',
    ['status', '--store', './memory.mjs']
  ), { code: 2, err: /memory.mjs has to export a store by default/ }, 'no other process would see it')
  t.match(await at('.', ['status', '--store', './slip.mjs']), {
    code: 2, err: /slip.mjs: unknown option 'store.prefiks'. Did you mean .*prefix/
  })
  t.match(await at('.', ['status', '--store', './options.mjs']), {
    code: 0, out: /open \(nothing stored at .*options.mjs\)/
  })
  t.match(await at('.', ['status', '--store', './throws.mjs']), {
    code: 2, err: /cannot be loaded from .*throws.mjs: no database here/
  })
  t.match(await at('.', ['status', '--store', './option.mjs']), { code: 2, err: /needs the package pg/ })
  t.match(await at('.', ['status', '--store', './rejects.mjs']), { code: 1, err: /connect ECONNREFUSED/ })
  t.match(await at('.', ['status', '--store', './state.mjs', '--prefix', 'a']), {
    code: 2, err: /--prefix is for a store in Redis or a database/
  })
  t.match(await at('text', ['status']), {
    code: 0, out: new RegExp(`nothing stored at ${join(folder, 'text/here.json')}`)
  })
  t.match(await at('bad', ['status']), { code: 2, err: /"fastify-maintenance" must be an address/ })
  t.match(await at('broken', ['status']), { code: 2, err: /package.json cannot be read/ })
  t.match(await at('dot', ['status']), {
    code: 0, out: new RegExp(`nothing stored at ${join(folder, 'dot/dotted.json')}`)
  })
  t.match(await at('other', ['status']), { code: 2, err: /no store/ })
  t.match(await at('text', ['status', '--', 'default']), { code: 0 })
  t.match(await at('.', ['sql', '--store', 'sqlite:./app.db']), { code: 0, out: /CREATE TABLE/ })
  t.match(await at('list', ['status']), { code: 0, out: /nothing stored at .*list\/quoted.json/ })
  t.match(await at('redis', ['status']), { code: 1, err: /ECONNREFUSED/ })
  t.match(await at('wrong', ['status']), { code: 2, err: /"fastify-maintenance" must be an address, or an object/ })
  t.match(await at('/', ['status']), { code: 2, err: /no store/ }, 'outside of every package')
  t.match(await at('.', ['on', 'shop', '--store', './plain.cjs']), {
    code: 2, err: /neither stored in .* \(no site is known there\)/
  })
  t.match(await at('.', ['on', 'shop', '--store', './state.mjs']), {
    code: 2, err: /neither stored in .* \(known there: default\)/
  })
  t.match(await at('none', ['status']), {
    code: 2, err: /no store: expected .*by --store, the variable MAINTENANCE_STORE, the key/
  })
})

t.test('completion for three shells', async t => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    t.match(await call(['completion', shell], {}), { code: 0, out: /stay-closed/ })
  }
  t.match(await call(['completion'], {}), { code: 2, err: /needs a shell: bash, zsh, fish/ })
  const { out } = await call(['completion', 'bash'], {})
  const script =
    `${out}\nCOMP_WORDS=(fastify-maintenance on --mess); COMP_CWORD=2; _fastify_maintenance; echo "\${COMPREPLY[@]}"`
  const child = spawn('bash', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.equal(await text(child.stdout), '--message --message-lang\n')
})

t.test('on for a closed site prints its author and the reset fields; a new file is reported', async t => {
  const file = stateFile(t)
  const env = { MAINTENANCE_STORE: `file:${file}` }
  t.match(await call([
    'on', '--force', '--mode', 'read-only', '--message', 'Soon', '--for', '1h', '--by', 'bob'
  ], env), { out: `stored in: ${file} (created)\n` })
  const { out } = await call(['on', '--by', 'ann', '--for', '30m'], env)
  t.match(
    out,
    /\n {2}replaced: the closure since .*, by bob \(reset: mode read-only → full, message\)\n {2}stored in: \S+\n$/
  )
  t.match(await call(['on', '--by', 'ann', '--for', '30m'], env), { out: /replaced: the closure since .*, by ann\n/ })
  t.notMatch(JSON.parse((await call(['on', '--json'], env)).out).sites[0], { replaced: {} })
})

t.test('colours on a terminal', async t => {
  const env = { MAINTENANCE_STORE: `file:${stateFile(t)}` }
  let out = ''
  await main(['status'], env, { color: true, out: text => { out += text }, err: () => {} })
  t.ok(out.startsWith('default: \u001b[32mopen\u001b[39m '))
})
