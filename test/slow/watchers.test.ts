import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { main } from '../../lib/cli/main.ts'
import { until } from '../fixtures/app.ts'

// Development servers that restart when a file changes: heartbeats must not restart them. Needs `npm run build`, and
// the
// registry for nodemon.

const BOOTS_FOR = 20_000
const root = fileURLToPath(new URL('../..', import.meta.url))
const bin = (name: string): string => join(root, 'node_modules/.bin', name)

const PLUGIN = `const require2 = require('node:module').createRequire(${JSON.stringify(`${root}package.json`)})
const plugin = async (app, options) => {
  await app.register(require2('fastify-maintenance'), { store: { file: './maintenance.json' } })
  app.addHook('onListen', async () => { console.log('BOOTED') })
}
`
const SERVER = `${PLUGIN}require2('fastify')().register(plugin).listen({ port: 0, host: '127.0.0.1' })\n`

const tools = mkdtempSync(join(tmpdir(), 'maintenance-tools-'))
t.teardown(() => rmSync(tools, { recursive: true }))
execFileSync('npm', ['install', '--prefix', tools, '--no-audit', '--no-fund', '--silent', 'nodemon@3'], { cwd: tools })
const nodemon = join(tools, 'node_modules/.bin/nodemon')
// port 0 would be its default, 3000
const fastify = async () => [
  bin('fastify'), 'start', '--watch', '--address', '127.0.0.1', '--port', String(await freePort()), 'plugin.cjs'
]

/**
 * Those that detect changes of the state file must ignore it before the site switches, as docs/file-store.md explains.
 */
const WATCHERS: Record<string, { args: string[], switches: boolean, servers?: number }> = {
  nodemon: { args: [nodemon, 'server.cjs'], switches: false },
  'nodemon that ignores the file': { args: [nodemon, '--ignore', 'maintenance.json', 'server.cjs'], switches: true },
  'fastify start --watch': { args: await fastify(), switches: false },
  'fastify start --watch that ignores the file': {
    args: [...await fastify(), '--ignore-watch', 'maintenance.json'], switches: true
  },
  'node --watch': { args: [process.execPath, '--watch', 'server.cjs'], switches: true },
  'node --watch, twice in a shared directory': {
    args: [process.execPath, '--watch', 'server.cjs'], switches: true, servers: 2
  },
  'tsx watch': { args: [bin('tsx'), 'watch', 'server.cjs'], switches: true }
}

t.jobs = 3
t.setTimeout(120_000)

for (const [name, { args: [program, ...args], switches, servers = 1 }] of Object.entries(WATCHERS)) {
  t.test(`${name} boots the server once, and its entry exists`, { buffered: true, timeout: 100_000 }, async t => {
    const place = mkdtempSync(join(tmpdir(), 'maintenance-watch-'))
    writeFileSync(join(place, 'package.json'), '{}')
    writeFileSync(join(place, 'plugin.cjs'), `${PLUGIN}module.exports = plugin\n`)
    writeFileSync(join(place, 'server.cjs'), SERVER)
    const outputs = Array.from({ length: servers }, () => watch(t, program!, args, place))
    const output = (): string => outputs.map(read => read()).join('')
    const boots = (): number => output().split('BOOTED').length - 1
    await until('booted', () => boots() >= servers, 60_000).catch(
      error => { throw new Error(`${error.message}: ${output()}`) }
    )
    await sleep(BOOTS_FOR / 2)
    if (switches) t.match(await command(place, 'on'), { code: 0 })
    await sleep(BOOTS_FOR / 2)
    t.equal(boots(), servers, output())
    t.equal(JSON.parse((await command(place, 'servers')).out).sites[0].servers.length, servers)
    t.match(readdirSync(place).filter(name => name.startsWith('.')), ['.maintenance.json.servers.swp'])
  })
}

/** Starts a program in its own process group, which ends with the test. */
function watch (t: Test, program: string, args: string[], cwd: string): () => string {
  const child = spawn(program, args, {
    cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: process.env.HOME }
  })
  t.teardown(async () => {
    try { process.kill(-child.pid!, 'SIGKILL') } catch {}
    rmSync(cwd, { recursive: true, force: true, maxRetries: 5 })
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => { output += text })
  return () => output
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** Retries a store that was too slow on a busy machine. */
async function command (place: string, name: string): Promise<{ code: number, out: string }> {
  for (let tries = 1; ; tries++) {
    let out = ''
    const code = await main([
      name, '--json', '--store', `file:${join(place, 'maintenance.json')}`
    ], {}, { out: text => { out += text }, err: text => { out += text } })
    if (code !== 1 || tries === 5) return { code, out }
  }
}
