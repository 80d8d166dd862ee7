import { execFile, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import fsp from 'node:fs/promises'
import { Agent, request as httpRequest } from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { main } from '../../lib/cli/main.ts'
import { LOST_AFTER } from '../../lib/servers/entry.ts'
import { readServers } from '../../lib/servers/server-list.ts'
import { createFileServers } from '../../lib/stores/file/servers.ts'
import { createApp, until, stateFile } from '../fixtures/app.ts'
import { directory as temporaryDirectory } from '../fixtures/file-store.ts'
import { startProxy, startRedis } from '../fixtures/redis.ts'
import { createTestStore } from '../fixtures/store.ts'

// Is it safe to migrate? Real servers, the real command, and a log that the handlers write to.

t.jobs = 3

interface Fleet {
  /** Options of a server. */
  readonly store: object
  /** The same for the command. */
  readonly args: readonly string[]
}

interface Result { readonly code: number, readonly out: string, readonly err: string }

/** Retries a store that was too slow on a busy machine. */
const patiently = (run: (args: string[]) => Promise<Result>) => async (...args: string[]): Promise<Result> => {
  const deadline = Date.now() + 60_000
  for (;;) {
    const result = await run(args)
    if (result.code !== 1 || Date.now() > deadline) return result
  }
}

/** Runs the command in this process. */
async function runOnce (args: readonly string[]): Promise<Result> {
  let out = ''
  let err = ''
  const code = await main(args, {}, { out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

const command = patiently(runOnce)

/** The same as a process, as operators run it. */
const program = patiently(args => new Promise(resolve => {
  execFile(process.execPath, ['dist/lib/cli/bin.js', ...args], (error, out, err) => resolve({
    code: Number(error?.code ?? 0), out, err
  }))
}))

async function startServer (t: Test, options: object): Promise<{ url: string, kill: () => void }> {
  const child = fork('test/fixtures/drain-server.ts', [JSON.stringify(options)], {
    execArgv: ['--import', 'tsx'], env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }
  })
  const exited = once(child, 'exit')
  // it would still write to a directory that is being removed
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const [{ url }] = await once(child, 'message')
  return { url, kill: () => child.kill('SIGKILL') }
}

/** Realistic durations in ms: mostly short, some long. */
function duration (): number {
  const [dice, more] = [Math.random(), Math.random()]
  return Math.floor(dice < 0.75 ? 100 + 200 * more : dice < 0.95 ? 300 + 700 * more : 1000 + 2000 * more)
}

const agent = new Agent({ keepAlive: true })
t.teardown(() => agent.destroy())

/** @returns the status; 0 if the client hung up */
function post (url: string, hangUpAfter: number | null): Promise<number> {
  return new Promise(resolve => {
    const request = httpRequest(url, { method: 'POST', agent }, response => response.resume().on(
      'close',
      () => resolve(response.statusCode ?? 0)
    ))
    request.on('error', () => resolve(0)).end()
    if (hangUpAfter !== null) setTimeout(() => request.destroy(), hangUpAfter)
  })
}

/** Checks less often than `until`, because the check costs more. */
const eventually = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  until(what, async () => {
    await sleep(100)
    return condition()
  }, 60_000)

/** Sends requests in series, and aborts some of them. */
async function load (url: string, site: string, on: { goesOn: boolean }): Promise<void> {
  for (let i = 0; on.goesOn; i++) {
    const ms = duration()
    const leaves = Math.random() < 0.15
    const status =
      await post(`${url}/work?site=${site}&id=${i}&ms=${ms}`, leaves ? Math.floor(ms * Math.random()) : null)
    if (status === 503) await sleep(50)
  }
}

async function prove (t: Test, { store, args }: Fleet, sites = 10): Promise<void> {
  const SITES = Array.from({ length: sites }, (_, i) => `site${i}`)
  const ROUNDS = 5
  const logs = t.testdir({ 'page.eta': 'closed' })
  const logOf = (site: string): string => readFileSync(join(logs, `${site}.log`), { encoding: 'utf8', flag: 'a+' })
  const count = (text: string, what: string): number => text.split(`${what} `).length - 1
  const servers = await Promise.all(Array.from({ length: 3 }, () => startServer(t, {
    store, sites: SITES, logs, response: { template: join(logs, 'page.eta') }
  })))
  const on = { goesOn: true }
  const clients = SITES.flatMap(site => servers.flatMap(({ url }) => load(url, site, on)))
  const violations: string[] = []
  let rounds = 0
  let waits = 0

  async function play (site: string, run: typeof command): Promise<void> {
    const began = count(logOf(site), 'begin')
    await eventually(`load on ${site}`, () => count(logOf(site), 'begin') >= began + 4)
    if (count(logOf(site), 'begin') > count(logOf(site), 'end')) waits++
    const { code, out, err } = await run('on', site, '--wait=60s', '--force', ...args)
    const log = logOf(site)
    t.match({ code, out }, {
      code: 0,
      out: new RegExp(
      `\\n${site}: 3 of 3 servers closed, 0 requests running\\n${site}: safe to proceed\\n$`
      )
    }, `${site}: ${err}`)
    if (count(log, 'begin') !== count(log, 'end')) {
      violations.push(`${site}: ${count(log, 'begin')} began, ${count(log, 'end')} ended`)
    }
    await sleep(300)
    if (logOf(site) !== log) violations.push(`${site}: written after the return: ${logOf(site).slice(log.length)}`)
    rounds++
    t.match(await run('off', site, '--wait=60s', ...args), {
      code: 0, out: new RegExp(`\\n${site}: 3 of 3 servers open\\n$`)
    })
  }

  await Promise.all(SITES.map(async (site, i) => {
    for (let round = 0; round < ROUNDS; round++) await play(site, i === 0 && round < 2 ? program : command)
  }))
  on.goesOn = false
  await Promise.all(clients)
  t.equal(rounds, SITES.length * ROUNDS)
  t.ok(waits > rounds / 2, `requests were running in ${waits} of ${rounds} rounds`)
  t.strictSame(violations, [])
}

t.test('safe to migrate, on Redis: 50 rounds under load on three servers, and no write after the return', { buffered: true }, async t => {
  const redis = await startRedis(t)
  await prove(t, { store: { redis: redis.url }, args: ['--store', redis.url] })
})

t.test('safe to migrate, on one file: the same', { buffered: true }, async t => {
  // tap removes the directory before it runs teardowns, unless the first teardown is older
  const file = stateFile(t)
  await prove(t, { store: { file }, args: ['--store', `file:${file}`] }, 4)
})

t.test('on Redis: a killed server and one without a connection delay the wait until lost; neither is safe', { buffered: true }, async t => {
  const redis = await startRedis(t)
  const proxy = await startProxy(t, redis.port)
  t.teardown(() => {})
  const logs = t.testdir()
  const args = ['--store', redis.url]
  const [victim] = await Promise.all([
    startServer(t, { store: { redis: redis.url }, site: 'victim', logs }),
    startServer(t, { store: { redis: proxy.url }, site: 'mute', logs })
  ])
  const now = async () => Number((await redis.client.time())[0]) * 1000
  const seenAt = async (site: string) =>
    Date.parse(JSON.parse((await command('servers', site, '--json', ...args)).out).sites[0].servers[0].seenAt)

  async function killed (): Promise<void> {
    post(`${victim.url}/work?site=victim&id=1&ms=60000`, null)
    await eventually('it is running', () => existsSync(join(logs, 'victim.log')))
    const waiting = command('on', 'victim', '--wait=60s', ...args)
    await eventually('it reports its requests', async () =>
      /closed, revision \d+, 1 request running \(from before: 1 × POST \/work\), seen/.test(
        (await command('servers', 'victim', ...args)).out
      ))
    victim.kill()
    const seen = await seenAt('victim')
    const { code, out, err } = await waiting
    t.ok(await now() >= seen + LOST_AFTER - 1000, 'not before it is lost')
    t.match({ code, out, err }, {
      code: 3,
      out: /victim: 1 of 1 server closed, 1 request running\nvictim: 0 of 0 servers closed, 0 requests running, 1 lost\n$/,
      err: /lost/
    })
    t.match(
      await command('on', 'victim', '--wait=60s', '--force', '--assume-dead', ...args),
      { code: 0, out: /victim: safe to proceed\n$/ },
      'for operators who have checked'
    )
  }

  async function silent (): Promise<void> {
    proxy.frozen = true
    const seen = await seenAt('mute')
    let returned = false
    const waiting = command('on', 'mute', '--wait=60s', ...args).finally(() => { returned = true })
    await eventually('it is listed as silent', async () =>
      /\): open \(has not followed\), revision 0, .*, seen .* \(\d+ seconds ago\)/.test(
        (await command('servers', 'mute', ...args)).out
      ))
    t.equal(returned, false, 'the wait does not return while it may be open')
    const { code, out } = await waiting
    t.ok(await now() >= seen + LOST_AFTER - 1000, 'not before it is lost')
    t.match({ code, out }, { code: 3, out: /mute: 0 of 0 servers closed, 0 requests running, 1 lost\n$/ })
    t.match(
      (await command('servers', 'mute', ...args)).out,
      /: open \(has not followed\), revision 0, .*, lost, last seen /
    )
    proxy.frozen = false
    proxy.cut()
    await eventually(
      'it is back, and closed',
      async () => /: closed, revision \d{10}/.test((await command('servers', 'mute', ...args)).out)
    )
  }

  await Promise.all([killed(), silent()])
})

t.test('on a file: a killed server is lost at once, and its entry stays; other files are ignored', { buffered: true }, async t => {
  // a short path: one of more than 107 bytes is truncated for a socket, and the socket is left behind
  const directory = temporaryDirectory(t)
  const file = join(directory, 'state.json')
  const args = ['--store', `file:${file}`]
  // the servers follow the link, the command does not
  symlinkSync('state.json', join(directory, 'link.json'))
  const [victim] = await Promise.all([startServer(t, {
    store: { file: join(directory, 'link.json') }, logs: directory
  }), startServer(t, { store: { file }, logs: directory })])
  const folder = join(directory, '.state.json.servers.swp')
  const entries = () => readdirSync(folder)
  t.equal(entries().length, 2)
  post(`${victim.url}/work?site=default&id=1&ms=60000`, null)
  await eventually('it is running', () => existsSync(join(directory, 'default.log')))
  const waiting = command('on', '--wait=60s', ...args)
  await eventually('it reports its requests', async () => /1 × POST/.test((await command('servers', ...args)).out))
  const expires = Math.min(...entries().map(name => JSON.parse(readFileSync(join(folder, name), 'utf8')).until))
  victim.kill()
  const { code, out } = await waiting
  t.ok(Date.now() < expires, 'it is known to be dead before it expires')
  t.match({ code, out }, { code: 3, out: /default: 1 of 1 server closed, 0 requests running, 1 lost\n$/ })
  t.equal(entries().length, 2)

  // files that others leave there
  const odd: Record<string, (path: string) => void> = {
    empty: path => writeFileSync(path, ''),
    'no JSON': path => writeFileSync(path, '{'),
    'no object': path => writeFileSync(path, 'null'),
    'without an entry': path => writeFileSync(path, '{"until":9e15,"pid":1,"space":"x"}'),
    'too large': path => writeFileSync(path, 'x'.repeat(1024 * 1024 + 1)),
    directory: path => mkdirSync(path),
    FIFO: path => execFileSync('mkfifo', [path]),
    loop: path => symlinkSync(path, path),
    'endless device': path => symlinkSync('/dev/zero', path)
  }
  for (const [name, make] of Object.entries(odd)) make(join(folder, name))
  const socket = createServer().listen(join(folder, 'socket'))
  await once(socket, 'listening')
  t.teardown(() => socket.close())
  writeFileSync(join(folder, 'far'), JSON.stringify({ until: 1, pid: 1, space: 'elsewhere', entry: 'old' }))
  t.equal(JSON.parse((await command('servers', '--json', ...args)).out).sites[0].servers.length, 2)
  t.equal(existsSync(join(folder, 'far')), false, 'an expired entry is removed')
  t.ok(Object.keys(odd).every(name => entries().includes(name)), 'no other is removed')

  // a server that must not be missed
  const { open } = fsp
  fsp.open = async (path, ...rest) => {
    if (String(path).includes('.servers.swp')) {
      throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' })
    }
    return open(path, ...rest)
  }
  syncBuiltinESMExports()
  const restore = () => {
    fsp.open = open
    syncBuiltinESMExports()
  }
  t.teardown(restore)
  t.match(await runOnce(['servers', ...args]), { code: 1, out: '', err: /EMFILE/ })
  t.match(await runOnce(['on', '--wait=1s', '--json', ...args]), {
    code: 1, out: '', err: /nothing was changed: EMFILE/
  })
  restore()
})

t.test('on a file: a server that boots removes entries of dead servers, and says goodbye when it closes', { buffered: false }, async t => {
  const file = stateFile(t)
  const folder = join(dirname(file), '.state.json.servers.swp')
  const store = createFileServers(file)
  t.strictSame(await store.heartbeats(), [])
  await store.heartbeat('dead', 'entry', 1)
  await sleep(5)
  const { app } = await createApp(t, { store: { file } })
  await app.ready()
  // A temporary file has a leading dot: an entry is written beside its target, then renamed.
  const entries = () => readdirSync(folder).filter(name => !name.startsWith('.'))
  await until('the dead entry is removed', () => entries().length === 1 &&
    !entries().some(name => name.includes('dead')))
  t.match(entries()[0], /^[0-9a-f-]{36}$/)
  await app.close()
  const goodbye = JSON.parse(readFileSync(join(folder, entries()[0] as string), 'utf8'))
  t.match(JSON.parse(goodbye.entry), { left: true, inFlight: 0 })
  t.strictSame(await readServers(Object.assign(createTestStore(), store), 'default'), [], 'it is no longer listed')
})
