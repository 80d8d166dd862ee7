import { execFile, execFileSync, fork, spawnSync, type ChildProcess } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import fs, { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import fsp from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { hostname, tmpdir } from 'node:os'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import { checkChange } from '../lib/state/change.ts'
import { parseRecord, type StateRecord } from '../lib/state/record.ts'
import { updateRecord } from '../lib/state/write.ts'
import { accessLike, replaceFile } from '../lib/stores/file/atomic-write.ts'
import { createFileStore } from '../lib/stores/file/file-store.ts'
import { takeLock as takeLockLike } from '../lib/stores/file/lock.ts'
import { createFileHistory } from '../lib/stores/file/history.ts'
import { isDead, processSpace, readSpace } from '../lib/stores/file/process-liveness.ts'
import { readRegular } from '../lib/stores/file/read-regular-file.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import { refuseMount } from '../lib/stores/file/mount.ts'
import type { FastifyMaintenanceOptions } from '../types/index.ts'

const isRoot = process.getuid?.() === 0

const OPEN = document({ on: false })
const CLOSED = document({ on: true })

/** A state file as it is written. */
function document (record: Partial<StateRecord>, envelope: { revision?: number } = {}): string {
  const whole: StateRecord = {
    v: 1, revision: 1000, on: true, mode: 'full', startsAt: null, endsAt: null, message: null, retryAfter: null, ignoreRoutes: [], windowId: null, bypass: null, by: null, runs: [], at: '2026-01-01T00:00:00.000Z', ...record
  }
  return JSON.stringify({ v: 1, sites: { default: { revision: whole.revision, record: JSON.stringify(whole), ...envelope } } })
}

/** Files that cannot be understood, but are small and regular: `set` repairs them. */
const GARBAGE: Record<string, [make: (file: string) => void, why: RegExp]> = {
  'is empty': [write(''), /empty/],
  'is truncated': [write(OPEN.slice(0, -20)), /no JSON/],
  'is UTF-16': [write(Buffer.from(`\ufeff${OPEN}`, 'utf16le')), /UTF-8/],
  'is UTF-16 without a mark': [write(Buffer.from(OPEN, 'utf16le')), /no JSON/],
  'is Latin-1': [write(Buffer.from(document({ on: false, message: 'Gr\u00fc\u00dfe' }), 'latin1')), /UTF-8/],
  'is of another program': [write('{"on":false}'), /expected { v: 1/],
  'is of a later version': [write(OPEN.replace('"v":1', '"v":2')), /expected { v: 1/],
  'holds an entry that is none': [write('{"v":1,"sites":{"default":null}}'), /expected { revision, record }/],
  'holds a record that is none': [write(JSON.stringify({ v: 1, sites: { default: { revision: 1000, record: '{"v":1,"on":"false"}' } } })), /expected/],
  'has the revision 1e300': [write(OPEN.replaceAll('1000', '1e300')), /expected/],
  'has the revision 2^53': [write(document({ revision: 2 ** 53, on: false })), /expected/],
  'has a revision of tomorrow': [write(document({ revision: Date.now() + 25 * 3600_000, on: false })), /expected/],
  'has the revision 2^53 - 1 around a good record': [write(document({ on: false }, { revision: 2 ** 53 - 1 })), /expected/],
  'has the revision 1e300 around a good record': [write(OPEN.replace('"revision":1000', '"revision":1e300')), /expected/]
}

/** What is none of ours: neither read nor replaced. */
const ODD: Record<string, [make: (file: string) => void, why: RegExp]> = {
  'has 10 MB': [write(Buffer.alloc(10_000_000, ' ')), /10000000 bytes/],
  'is a FIFO': [file => execFileSync('mkfifo', [file]), /no regular file/],
  'is a directory': [file => mkdirSync(file), /no regular file|EISDIR/],
  'is a link to /dev/zero': [file => symlinkSync('/dev/zero', file), /no regular file/],
  'is a link to itself': [file => symlinkSync(file, file), /ELOOP/]
}

function write (content: string | Buffer): (file: string) => void {
  return file => writeFileSync(file, content)
}

const PRIVATE = { mode: 0o600, uid: -1, gid: -1 }

const takeLock = (path: string) => takeLockLike(path, PRIVATE)

/** Replaces a file as the store does. */
const replace = async (file: string, text: string, beforeRename = async () => {}): Promise<void> =>
  replaceFile(file, text, { access: await accessLike(file), durable: true, beforeRename })

/** A directory of its own, for users of all kinds. */
function directory (t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'maintenance-file-'))
  fs.chmodSync(path, 0o755)
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Waits until it holds; fails when it does not in time. */
async function until (condition: () => boolean | Promise<boolean>, ms: number, what: string): Promise<number> {
  const began = performance.now()
  while (!await condition()) {
    if (performance.now() - began > ms) throw new Error(`not within ${ms} ms: ${what}`)
    await sleep(5)
  }
  return performance.now() - began
}

async function timed (work: PromiseLike<unknown>): Promise<number> {
  const began = performance.now()
  await work
  return performance.now() - began
}

/** A server in this process, whose handler counts its calls and whose log is kept. */
async function serve (t: Test, file: string, fallback = false) {
  const log: { level: number, msg: string }[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => { log.push(JSON.parse(line)) } } } })
  t.teardown(() => app.close())
  let calls = 0
  app.get('/', async () => { calls++ })
  app.register(maintenance, { store: { file }, fallback })
  const booting = await timed(app.ready().then(() => {}))
  const { maintenance: api } = app
  return {
    api,
    booting,
    errors: () => log.filter(({ level }) => level >= 50).map(({ msg }) => msg),
    get calls () { return calls },
    ask: async () => (await app.inject('/')).statusCode
  }
}

/** Of children: tap is not to measure their coverage, tsx compiles the same files to other lines. */
const ENV = { PATH: process.env.PATH, _TAPJS_PROCESSINFO_COVERAGE_: '0' }

/** A program of its own, ended with the test. */
function start (t: Test, program: string, args: string[], preload: string[] = []): ChildProcess {
  const imports = ['tsx', ...preload.map(name => new URL(`fixtures/${name}`, import.meta.url).href)]
  const child = fork(new URL(`fixtures/${program}`, import.meta.url), args, {
    execArgv: imports.flatMap(name => ['--import', name]), env: ENV
  })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** The next message of a child. */
async function message<T> (child: ChildProcess): Promise<T> {
  const [told] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code, signal]) => { throw new Error(`a child ended by ${code ?? signal}`) })
  ])
  return told
}

/** Everything beside the file itself. */
const beside = (file: string): string[] => readdirSync(join(file, '..')).filter(name => !['state.json', 'state.json.history', '.state.json.servers.swp'].includes(name))

const stored = (file: string): StateRecord => parseRecord(JSON.parse(readFileSync(file, 'utf8')).sites.default.record)

/** Replaces functions of a module until the subtest is over. */
function stub<T extends object> (t: Test, module: T, parts: Partial<T>): void {
  const own = Object.fromEntries(Object.keys(parts).map(name => [name, module[name as keyof T]]))
  Object.assign(module, parts)
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(module, own)
    syncBuiltinESMExports()
  })
}

t.test('a change in one process closes and opens other processes on the same file within 1.5 s', async t => {
  const file = join(directory(t), 'state.json')
  const link = join(directory(t), 'link.json')
  symlinkSync(file, link)
  const kinds: Record<string, string[]> = {
    'with a watch': [file],
    'where watching throws': [file, 'watch-throws.mjs'],
    'where watching is silent': [file, 'watch-silent.mjs'],
    'through a link': [link],
    'through a link, where watching is silent': [link, 'watch-silent.mjs']
  }
  const urls = await Promise.all(Object.values(kinds).map(async ([path, ...preload]) =>
    (await message<{ url: string }>(start(t, 'file-server.ts', [path!], preload))).url))
  const { api } = await serve(t, link)
  const statuses = (): Promise<number[]> => Promise.all(urls.map(url => fetch(url).then(async answer => {
    await answer.arrayBuffer()
    return answer.status
  })))

  t.same(await statuses(), urls.map(() => 200))
  for (const [on, expected] of [[true, 503], [false, 200], [true, 503]] as const) {
    await api.set(on)
    const seen = await Promise.all(urls.map(url => until(async () => (await fetch(url)).status === expected, 1500, `${expected} from ${url}`)))
    for (const [i, kind] of Object.keys(kinds).entries()) t.ok(seen[i]! < 1500, `${expected} ${kind} after ${seen[i]!.toFixed()} ms`)
  }
  t.ok(lstatSync(link).isSymbolicLink(), 'the link is still one')
})

t.test('a watch hints at the changes of others, also through links', async t => {
  const place = directory(t)
  const file = join(place, 'state.json')
  const link = join(directory(t), 'link.json')
  symlinkSync(file, link)
  for (const path of [file, link]) {
    const store = createFileStore(path)
    t.teardown(() => store.close())
    let hints = 0
    await store.watch(() => { hints++ })
    await createFileStore(file).write('default', 'a', { revision: 1 })
    await until(() => hints > 0, 1000, `a hint at ${path}`)
    await store.close()
    await store.close()
    hints = 0
    const other = createFileStore(file)
    t.teardown(() => other.close())
    let others = 0
    await other.watch(() => { others++ })
    await other.write('default', 'b', { revision: 2 })
    await until(() => others > 0, 1000, 'a hint for who still watches')
    t.equal(hints, 0, 'a closed store gives no more hints')
  }
})

t.test('a watch that comes to be after closing ends at once', async t => {
  let watches = 0
  stub(t, fs, { watch: (() => { watches++ }) as unknown as typeof fs.watch })
  const store = createFileStore(join(directory(t), 'state.json'))
  const watching = store.watch(() => {})
  await store.close()
  await watching
  t.equal(watches, 0)
})

t.test('a watch that fails is ended, and one that names no file is a hint', async t => {
  const watchers: EventEmitter[] = []
  let closed = 0
  stub(t, fs, {
    watch: ((_path: string, _options: object, listener: (event: string, name: string | null) => void) => {
      const watcher = Object.assign(new EventEmitter(), { close () { closed++ } })
      watcher.on('event', listener)
      watchers.push(watcher)
      return watcher
    }) as unknown as typeof fs.watch
  })
  const store = createFileStore(join(directory(t), 'state.json'))
  let hints = 0
  await store.watch(() => { hints++ })
  t.equal(watchers.length, 1)
  for (const name of ['state.json', null, 'other.json', 'state.json.lock']) watchers[0]!.emit('event', 'rename', name)
  t.equal(hints, 2)
  watchers[0]!.emit('error', new Error('gone'))
  t.equal(closed, 1)
})

t.test('a store in a directory that is not there can be watched without effect', async t => {
  const store = createFileStore(join(directory(t), 'none', 'state.json'))
  await t.resolves(Promise.resolve(store.watch(() => {})))
  await t.rejects(store.read('default'), { code: 'ENOENT' })
  await t.rejects(store.write('default', 'a', { revision: 1 }), { code: 'ENOENT' })
})

t.test('60 writers are killed at random moments', async t => {
  const file = join(directory(t), 'state.json')
  const store = createFileStore(file)
  // compiled once: 60 processes start in a third of the time that tsx takes
  const compiled = t.testdir()
  execFileSync(process.execPath, [
    'node_modules/typescript/bin/tsc', 'test/fixtures/file-writer.ts', '--outDir', compiled, '--ignoreConfig', '--noCheck',
    '--rootDir', '.', '--module', 'nodenext', '--target', 'es2022', '--types', 'node', '--rewriteRelativeImportExtensions'
  ], { cwd: new URL('..', import.meta.url), env: ENV })
  const boot = (): { child: ChildProcess, ready: Promise<string> } => {
    const child = fork(join(compiled, 'test/fixtures/file-writer.js'), [file, 'loop'], { execArgv: [], env: ENV })
    t.teardown(() => child.kill('SIGKILL'))
    const ready = message<string>(child)
    // awaited later, or never where the test has failed by then
    ready.catch(() => {})
    return { child, ready }
  }
  const pool = [boot(), boot()]
  let left = 0
  let most = 0
  let slowest = 0
  let writes = 0
  for (let kill = 0; kill < 60; kill++) {
    const { child, ready } = pool.shift()!
    if (kill < 58) pool.push(boot())
    await ready
    let told = 0
    const first = message<number>(child)
    child.on('message', revision => {
      told = revision as number
      writes++
    })
    child.send('go')
    await first
    // not a wait for something: the random moment
    await sleep(Math.random() * 25)
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit

    const { revision } = parseRecord(await store.read('default') as string)
    if (revision < told) t.fail(`kill ${kill}: revision ${told} was told, but is lost (${revision})`)
    const names = beside(file)
    if (names.length > 0) left++
    most = Math.max(most, names.length)
    // every other time, the next killed one finds what this one left
    if (kill % 2 === 0) slowest = Math.max(slowest, await timed(updateRecord(store, 'default', checkChange(true))))
  }
  t.ok(left > 0, `${left} of 60 kills hit a write (${writes} writes)`)
  t.ok(most <= 2, `at most ${most} files left by a kill`)
  t.ok(slowest < 2000, `the slowest write after a kill took ${slowest.toFixed()} ms`)
  await updateRecord(store, 'default', checkChange(false))
  t.same(beside(file), [], 'nothing is left after one more write')
})

t.test('four processes that count together lose nothing', async t => {
  const file = join(directory(t), 'state.json')
  await updateRecord(createFileStore(file), 'default', checkChange(true, { message: '0' }))
  const told: [number, number][] = []
  const children = Array.from({ length: 4 }, () => start(t, 'file-writer.ts', [file, 'count']))
  await Promise.all(children.map(message))
  const exits = children.map(async child => {
    child.on('message', pair => told.push(pair as [number, number]))
    const [code] = await once(child, 'exit')
    t.equal(code, 0)
  })
  for (const child of children) child.send('go')
  await Promise.all(exits)

  told.sort(([a], [b]) => a - b)
  t.same(told.map(([number]) => number), Array.from({ length: 100 }, (_, i) => i + 1))
  t.ok(told.every(([, revision], i) => i === 0 || revision > told[i - 1]![1]), 'revisions strictly increase')
  t.equal(stored(file).message, '100')
  t.same(beside(file), [])
})

t.test('a disk that is full leaves the old state intact', async t => {
  const place = directory(t)
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', place], { encoding: 'utf8' })
  if (status !== 0) return t.pass('a full disk', { skip: `no small disk can be mounted here (the next test has another limit): ${stderr}` })
  const file = join(place, 'state.json')
  const filler = join(place, 'filler')
  // teardowns run last in, first out
  t.teardown(() => execFileSync('umount', ['-l', place]))
  const server = await serve(t, file)
  await server.api.set(true, { message: 'before' })
  const before = readFileSync(file, 'utf8')

  const fill = (): void => {
    const descriptor = fs.openSync(filler, 'a')
    try {
      for (;;) fs.writeSync(descriptor, Buffer.alloc(1024))
    } catch (error) {
      t.match(error, { code: 'ENOSPC' })
    } finally {
      fs.closeSync(descriptor)
    }
  }
  fill()
  await t.rejects(server.api.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: /ENOSPC/ }, 'no room for the lock')
  t.same(beside(file), ['filler'])
  fs.truncateSync(filler, statSync(filler).size - 4096)
  await t.rejects(server.api.set(false, { by: 'x' }), { code: 'FST_ERR_MAINTENANCE_STORE', message: /ENOSPC/ }, 'room for the lock only')
  t.same(beside(file), ['filler'])
  t.equal(readFileSync(file, 'utf8'), before)
  t.equal(await server.ask(), 503)
  t.match(server.api.status(), { on: true, message: 'before' })

  unlinkSync(filler)
  await server.api.set(false)
  t.equal(await server.ask(), 200)
  t.same(beside(file), [])
})

t.test('a limit of file sizes leaves the old state intact', async t => {
  const file = join(directory(t), 'state.json')
  const store = createFileStore(file)
  const program = new URL('fixtures/file-large.ts', import.meta.url).pathname
  const run = (limit: string): string => execFileSync('sh', ['-c', `ulimit -f ${limit} && exec "$@"`, 'sh', process.execPath, '--import', 'tsx', program, file], {
    encoding: 'utf8', env: { ...ENV, TSX_DISABLE_CACHE: '1' }
  }).trim()
  await store.write('default', 'before', { revision: 1 })

  t.equal(run('4'), 'EFBIG')
  t.equal(await store.read('default'), 'before')
  t.same(beside(file), [])
  t.equal(run('unlimited'), 'written')
  t.equal(await store.read('default'), 'x'.repeat(5000))
  t.same(beside(file), [])
})

t.test('a state that would grow too large is refused', async t => {
  const file = join(directory(t), 'state.json')
  const store = createFileStore(file)
  await store.write('a', 'before', { revision: 1 })
  await t.rejects(store.write('a', 'x'.repeat(1024 * 1024), { revision: 2 }), /larger than 1048576 bytes/)
  t.equal(await store.read('a'), 'before')
  t.same(beside(file), [])
})

t.test('a server boots closed on a file that', async t => {
  for (const [kind, [make, why]] of Object.entries({ ...GARBAGE, ...ODD })) {
    t.test(kind, async t => {
      const file = join(directory(t), 'state.json')
      make(file)
      const server = await serve(t, file, false)
      t.ok(server.booting < 2000, `within ${server.booting.toFixed()} ms`)
      for (let i = 0; i < 10; i++) t.equal(await server.ask(), 503)
      await server.api.refresh()
      t.match(server.api.status(), { source: 'unreadable', active: true, store: { connected: true, error: why } })
      t.equal(server.calls, 0)
      t.equal(server.errors().length, 1, 'one error in the log')
      t.match(server.errors()[0], why)

      if (kind in ODD) {
        const before = lstatSync(file)
        const time = await timed(t.rejects(server.api.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: why }))
        t.ok(time < 2000, `refused within ${time.toFixed()} ms`)
        const { ino, size, mode } = lstatSync(file)
        t.same({ ino, size, mode }, { ino: before.ino, size: before.size, mode: before.mode }, 'it is left as it was')
        t.same(beside(file), [])
        t.equal(await server.ask(), 503)
        t.equal(server.calls, 0)
      } else {
        const before = readFileSync(file)
        await server.api.set(false)
        t.match(server.api.status(), { source: 'store', active: false, store: { error: null } })
        t.equal(await server.ask(), 200)
        t.equal(stored(file).on, false)
        const kept = existsSync(`${file}.unreadable`) && readFileSync(`${file}.unreadable`)
        if (/record|entry|revision/.test(kind)) t.equal(kept, false, 'a document that is one is not copied')
        else t.same(kept, before, 'a copy is kept')
        await server.api.set(true)
        t.equal(await server.ask(), 503, 'and it can be closed again')
        t.equal(stored(file).on, true)
      }
    })
  }

  t.test('may not be read', async t => {
    const file = join(directory(t), 'state.json')
    writeFileSync(file, OPEN)
    fs.chmodSync(file, isRoot ? 0o600 : 0o000)
    const child = start(t, 'file-server.ts', isRoot ? [file, 'nobody'] : [file])
    const { url, status, errors } = await message<{ url: string, status: object, errors: string[] }>(child)
    t.match(status, { source: 'unreadable', active: true, store: { error: /EACCES/ } })
    t.equal((await fetch(url)).status, 503)
    t.equal(errors.length, 1)
    t.match(errors[0], /EACCES/)
  })
})

t.test('garbage in place of a second one is replaced too, the first copy stays', async t => {
  const file = join(directory(t), 'state.json')
  for (const [revision, garbage] of ['first', 'second'].entries()) {
    writeFileSync(file, garbage)
    await createFileStore(file).write('a', garbage, { revision: revision + 1, expected: 0 })
    t.equal(await createFileStore(file).read('a'), garbage)
  }
  t.equal(readFileSync(`${file}.unreadable`, 'utf8'), 'first')
})

t.test('a file with a byte order mark is read', async t => {
  const file = join(directory(t), 'state.json')
  writeFileSync(file, `\ufeff${CLOSED}`)
  const server = await serve(t, file)
  t.match(server.api.status(), { source: 'store', active: true, revision: 1000 })
  await server.api.set(false)
  t.equal(await server.ask(), 200)
})

t.test('the last known state stands while the file', async t => {
  for (const [kind, [make, why]] of Object.entries({ ...GARBAGE, ...ODD })) {
    t.test(kind, async t => {
      for (const on of [true, false]) {
        const file = join(directory(t), 'state.json')
        const server = await serve(t, file)
        const { revision } = await server.api.set(on)
        rmSync(file)
        make(file)
        await server.api.refresh()
        t.match(server.api.status(), { on, active: on, revision, source: 'store', store: { error: why } })
        t.equal(await server.ask(), on ? 503 : 200)
        t.equal(server.errors().length, 1)
        rmSync(file, { recursive: true })
        writeFileSync(file, document({ on: !on, revision: revision + 1 }))
        await server.api.refresh()
        t.match(server.api.status(), { active: !on, store: { error: null } }, 'what follows it is adopted')
      }
    })
  }
})

t.test('a running server repairs', async t => {
  const scenes: Record<string, (file: string, first: string) => void> = {
    'a deleted file': file => rmSync(file),
    'an older state that was put back': (file, first) => writeFileSync(file, first)
  }
  for (const [what, harm] of Object.entries(scenes)) {
    t.test(what, async t => {
      const file = join(directory(t), 'state.json')
      const server = await serve(t, file)
      await server.api.set(false, { by: 'first' })
      const first = readFileSync(file, 'utf8')
      const { revision } = await server.api.set(true, { by: 'second' })
      harm(file, first)
      await server.api.refresh()
      t.equal(await server.ask(), 503)
      t.match(server.api.status().store.error, /missing|older/)
      await until(() => server.api.status().store.error === null, 1500, 'repaired')
      t.match(stored(file), { on: true, by: 'second', revision })
      t.equal(await server.ask(), 503)
      t.equal(server.calls, 0)
    })
  }

  t.test('a deleted directory, as soon as there is one again', async t => {
    const place = join(directory(t), 'place')
    mkdirSync(place)
    const file = join(place, 'state.json')
    const server = await serve(t, file)
    const { revision } = await server.api.set(true)
    rmSync(place, { recursive: true })
    await server.api.refresh()
    t.match(server.api.status(), { active: true, source: 'store', store: { connected: false, error: /ENOENT/ } })
    await t.rejects(server.api.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: /ENOENT/ })
    t.equal(await server.ask(), 503)
    mkdirSync(place)
    await until(() => existsSync(file), 2000, 'written again')
    t.match(stored(file), { on: true, revision })
    await until(() => server.api.status().store.error === null, 1500, 'well again')
    t.equal(await server.ask(), 503)
    t.equal(server.calls, 0)
  })
})

t.test('without a directory there is no store, and the fallback counts', async t => {
  const file = join(directory(t), 'none', 'state.json')
  for (const fallback of [true, false]) {
    const server = await serve(t, file, fallback)
    t.match(server.api.status(), { source: 'fallback', active: fallback, store: { connected: false, error: /ENOENT/ } })
    t.equal(await server.ask(), fallback ? 503 : 200)
    t.equal(server.errors().length, 1)
    await t.rejects(server.api.set(!fallback), { code: 'FST_ERR_MAINTENANCE_STORE', message: /ENOENT/ })
  }
  t.notOk(existsSync(join(file, '..')), 'no directory is made: a disk may be mounted there')
})

t.test('replacing a file keeps its mode, its owner and the links to it', async t => {
  const place = directory(t)
  const file = join(place, 'state.json')
  const link = join(place, 'link.json')
  writeFileSync(file, OPEN)
  fs.chmodSync(file, 0o640)
  if (isRoot) fs.chownSync(file, 65534, 12345)
  const before = statSync(file)
  symlinkSync('state.json', link)
  const server = await serve(t, link)
  await server.api.set(true)
  const after = statSync(file)
  t.not(after.ino, before.ino, 'it was replaced')
  t.same([after.mode, after.uid, after.gid], [before.mode, before.uid, before.gid])
  t.ok(lstatSync(link).isSymbolicLink())
  t.equal(stored(file).on, true)
})

t.test('a link to a file that is not there yet', async t => {
  const place = directory(t)
  const target = join(place, 'target', 'state.json')
  const link = join(place, 'link.json')
  symlinkSync('link2.json', link)
  symlinkSync('target/state.json', join(place, 'link2.json'))
  const store = createFileStore(link)
  await t.rejects(store.read('default'), { code: 'ENOENT' }, 'without a directory it is a store that fails')
  mkdirSync(join(place, 'target'))
  t.equal(await store.read('default'), null)
  await store.write('default', 'first', { revision: 1, expected: 0 })
  t.ok(lstatSync(link).isSymbolicLink(), 'stays one')
  t.equal(JSON.parse(readFileSync(target, 'utf8')).sites.default.record, 'first')
  t.equal(await store.read('default'), 'first')
})

t.test('a new file is as private as the one that it replaces, at every moment', async t => {
  const file = join(directory(t), 'state.json')
  writeFileSync(file, OPEN)
  fs.chmodSync(file, 0o600)
  const modes: number[] = []
  await replace(file, CLOSED, async () => {
    for (const name of beside(file)) modes.push(statSync(join(file, '..', name)).mode & 0o777)
  })
  t.same(modes, [0o600])
  const { open } = fsp
  const asked: unknown[] = []
  stub(t, fsp, {
    open: async (path, flags, mode) => {
      if (flags === 'wx') asked.push(mode)
      return open(path, flags, mode)
    }
  })
  await replace(file, CLOSED)
  t.same(asked, [0o600])
})

t.test('who may not give a file away keeps its group at least, or writes all the same', async t => {
  const { open } = fsp
  const asked: [number, number][] = []
  stub(t, fsp, {
    open: async (...args) => {
      const handle = await open(...args)
      handle.chown = async (uid, gid) => {
        asked.push([uid, gid])
        throw Object.assign(new Error('EPERM'), { code: 'EPERM' })
      }
      return handle
    }
  })
  const file = join(directory(t), 'state.json')
  writeFileSync(file, OPEN)
  await replace(file, CLOSED)
  const { uid, gid } = statSync(file)
  t.same(asked, [[uid, gid], [-1, gid]])
  t.equal(readFileSync(file, 'utf8'), CLOSED)
})

t.test('a system that cannot sync directories writes all the same', async t => {
  const { open } = fsp
  const place = directory(t)
  const file = join(place, 'state.json')
  let fail = 'open'
  let descriptor: number | undefined
  const { fsync } = fs
  stub(t, fs, {
    fsync: ((fd: number, done: (error: Error | null) => void) => fd === descriptor ? done(new Error('EINVAL')) : fsync(fd, done)) as typeof fsync
  })
  stub(t, fsp, {
    open: async (path, ...rest) => {
      if (path !== place) return open(path, ...rest)
      if (fail === 'open') throw new Error('EISDIR')
      const handle = await open(path, ...rest)
      descriptor = handle.fd
      return handle
    }
  })
  for (fail of ['open', 'sync']) {
    await replace(file, fail)
    t.equal(readFileSync(file, 'utf8'), fail)
  }
})

t.test('writing sweeps what killed writers left, and nothing of others', async t => {
  const file = join(directory(t), 'state.json')
  const id = '01234567-89ab-cdef-0123-456789abcdef'
  const place = join(file, '..')
  const others = ['state.json.backup.tmp', `.state.json.eu.${id}.tmp`, `.other.json.${id}.tmp`, `state.json.${id}`, `state.json.${id}.tmp`, `.state.json.${id.slice(1)}.tmp`]
  for (const name of [`.state.json.${id}.tmp`, ...others]) writeFileSync(join(place, name), '')
  // what cannot be removed does not stop a write
  mkdirSync(join(place, `.state.json.${id.replace('0', 'f')}.tmp`))
  await createFileStore(file).write('default', 'a', { revision: 1 })
  t.same(beside(file).sort(), [...others, `.state.json.${id.replace('0', 'f')}.tmp`].sort())
  await t.rejects(replace(join(file, 'none', 'x'), ''))
})

t.test('reads at once share one look, a later one looks again', async t => {
  const file = join(directory(t), 'state.json')
  const store = createFileStore(file)
  await store.write('a', 'first', { revision: 1 })
  const { open } = fsp
  let looks = 0
  stub(t, fsp, {
    open: async (path, ...rest) => {
      if (path === file && ++looks === 1) {
        const handle = await open(path, ...rest)
        // between its look and its answer, another process writes
        const next = `${file}.next`
        writeFileSync(next, readFileSync(file, 'utf8').replace('first', 'second'))
        renameSync(next, file)
        later = store.read('a')
        return handle
      }
      return open(path, ...rest)
    }
  })
  let later: Promise<string | null> | undefined
  t.same(await Promise.all([store.read('a'), store.read('b'), store.read('a')]), ['first', null, 'first'])
  t.equal(await later, 'second')
  t.equal(looks, 2)
})

t.test('a lock', async t => {
  /** A store whose lock looks as `make` leaves it, and a server on it. */
  async function locked (t: Test, make: (lock: string) => void) {
    const file = join(directory(t), 'state.json')
    const server = await serve(t, file)
    await server.api.set(true)
    const before = readFileSync(file, 'utf8')
    make(`${file}.lock`)
    return { file, lock: `${file}.lock`, server, before }
  }

  const probe = join(directory(t), 'probe.lock')
  const probed = await takeLock(probe)
  const [, here] = readFileSync(probe, 'utf8').split(' ') as [string, string]
  await probed.release()
  const dead = `${spawnSync(process.execPath, ['-e', '']).pid} ${here} host x`
  const elsewhere = '1 elsewhere/1 host x'

  t.test('names its holder', async t => {
    const path = join(directory(t), 'a.lock')
    const lock = await takeLock(path)
    t.same(readFileSync(path, 'utf8').split(' ').slice(0, 3), [process.pid, processSpace(), hostname()])
    t.equal(here, processSpace())
    t.equal(statSync(path).mode & 0o777, 0o600)
    await t.resolves(lock.check())
    await lock.release()
    t.notOk(existsSync(path))
    await t.rejects(takeLock(join(path, 'none', 'b.lock')), /ENOENT/)
  })

  t.test('of a dead process is broken at once', async t => {
    const { server, file } = await locked(t, write(dead))
    const time = await timed(server.api.set(false))
    t.ok(time < 700, `after ${time.toFixed()} ms`)
    t.equal(stored(file).on, false)
    t.same(beside(file), [])
  })

  t.test('that nobody renews is broken when it is stale, within the time of a set', async t => {
    const long = new Date(Date.now() - 3600_000)
    const kinds: Record<string, (lock: string) => void> = {
      'of another host': write(elsewhere),
      'of another host, whose date is long past': lock => {
        writeFileSync(lock, elsewhere)
        utimesSync(lock, long, long)
      },
      'of another host, whose date is to come': lock => {
        writeFileSync(lock, elsewhere)
        utimesSync(lock, Date.now() / 1000 + 3600, Date.now() / 1000 + 3600)
      },
      'of this host, but of another PID namespace': write(dead.replace(here, here.replace(/\d+$/, '1'))),
      'of a live process that hangs': write(`${process.pid} ${here} host x`),
      'without a word, its writer died on the way': write(''),
      'that is a FIFO': lock => execFileSync('mkfifo', [lock]),
      'that someone died breaking': lock => {
        writeFileSync(lock, dead)
        writeFileSync(`${lock}.breaking`, dead)
      }
    }
    await Promise.all(Object.entries(kinds).map(async ([kind, make]) => {
      const { server, file } = await locked(t, make)
      const time = await timed(server.api.set(false))
      t.ok(time > 1000 && time < 2000, `${kind}: after ${time.toFixed()} ms`)
      t.equal(stored(file).on, false)
      t.same(beside(file), [])
    }))
  })

  t.test('that says nothing of a live process here is broken when it is stale', async t => {
    const past = new Date(Date.now() - 3600_000)
    const kinds: Record<string, (lock: string) => unknown> = {
      'of a process from before the last boot': write(dead.replace(here, here.replace(/^[^/]+/, '0'))),
      'of no process': write(`-1 ${here} host x`),
      'a FIFO': lock => execFileSync('mkfifo', [lock]),
      'a socket': lock => createServer().unref().listen(lock),
      'a link to an endless device': lock => symlinkSync('/dev/zero', lock),
      'a link to nowhere': lock => symlinkSync('nowhere', lock),
      'a huge file': lock => {
        writeFileSync(lock, '')
        fs.truncateSync(lock, 2 ** 40)
      },
      "a link to somebody else's file, and the lock for breaking it too": lock => {
        for (const name of [lock, `${lock}.breaking`]) {
          symlinkSync(victim, name)
          fs.lutimesSync(name, past, past)
        }
      }
    }
    const victim = join(directory(t), 'victim')
    writeFileSync(victim, dead)
    utimesSync(victim, past, past)
    await Promise.all(Object.entries(kinds).map(async ([kind, make]) => {
      const path = join(directory(t), 'a.lock')
      make(path)
      const time = await timed(takeLock(path).then(lock => lock.release()))
      t.ok(time > 1000 && time < 2000, `${kind}: after ${time.toFixed()} ms`)
      t.same(readdirSync(join(path, '..')), [])
    }))
    t.equal(readFileSync(victim, 'utf8'), dead)
  })

  t.test('that someone died breaking when it was broken leaves nothing behind', async t => {
    const { server, file } = await locked(t, lock => writeFileSync(`${lock}.breaking`, dead))
    await server.api.set(false)
    t.same(beside(file), [])
  })

  t.test('that goes from one live writer to the next makes set reject, and says who has it', async t => {
    const { server, file, lock, before } = await locked(t, () => {})
    let turn = 0
    const pass = (): void => {
      writeFileSync(`${lock}.next`, `4711 elsewhere/1 shop-3 ${turn++}`)
      renameSync(`${lock}.next`, lock)
    }
    pass()
    const timer = setInterval(pass, 200)
    t.teardown(() => clearInterval(timer))
    const time = await timed(t.rejects(server.api.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: /state\.json\.lock is held by process 4711 on host 'shop-3'/ }))
    t.ok(time < 2000, `after ${time.toFixed()} ms`)
    clearInterval(timer)
    t.equal(readFileSync(file, 'utf8'), before)
    t.same(beside(file), ['state.json.lock'])
    t.equal(await server.ask(), 503)
  })

  t.test('that is a directory makes set reject', async t => {
    const { server, file, before } = await locked(t, lock => mkdirSync(lock))
    await t.rejects(server.api.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: /state\.json\.lock is held by something unknown: remove it/ })
    t.equal(readFileSync(file, 'utf8'), before)
  })

  t.test('that was lost: the file is not replaced', async t => {
    const { server, file, lock, before } = await locked(t, () => {})
    const { open } = fsp
    stub(t, fsp, {
      open: async (path, ...rest) => {
        if (String(path).endsWith('.tmp')) writeFileSync(lock, elsewhere)
        return open(path, ...rest)
      }
    })
    await t.rejects(server.api.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: /was lost/ })
    t.equal(readFileSync(file, 'utf8'), before)
    t.equal(readFileSync(lock, 'utf8'), elsewhere, "the other's lock stands")
    t.same(beside(file), ['state.json.lock'])
    t.equal(await server.ask(), 503)
  })

  t.test('of a writer that stopped for long: it finds it lost when it goes on', async t => {
    const file = join(directory(t), 'state.json')
    const child = start(t, 'file-writer.ts', [file, 'stop'])
    await message(child)
    const told = message<string>(child)
    child.send('go')
    await until(() => existsSync(`${file}.lock`) && /^\d+ \(.*\) T/.test(readFileSync(`/proc/${child.pid}/stat`, 'utf8')), 5000, 'stopped with the lock')
    const store = createFileStore(file)
    const time = await timed(store.write('default', 'of the other', { revision: 2 }))
    t.ok(time > 1000 && time < 2000, `written after ${time.toFixed()} ms`)
    child.kill('SIGCONT')
    t.match(await told, /was lost/)
    t.equal(await store.read('default'), 'of the other')
    t.same(beside(file), [])
  })

  t.test('of a stopped breaker does no harm to the next one', async t => {
    const path = join(directory(t), 'a.lock')
    const { open } = fsp
    let next: Awaited<ReturnType<typeof takeLock>> | undefined
    writeFileSync(path, dead)
    stub(t, fsp, {
      open: async (name, ...rest) => {
        // it has seen that the lock is stale; before it breaks it, someone else does, and a third takes it
        if (name === `${path}.breaking` && next === undefined) {
          unlinkSync(path)
          next = await takeLock(path)
        }
        return open(name, ...rest)
      }
    })
    const late = takeLock(path)
    await until(() => next !== undefined && !existsSync(`${path}.breaking`), 1000, 'the next one has the lock')
    await t.resolves(next!.check(), 'and keeps it')
    await next!.release()
    await (await late).release()
    t.same(readdirSync(join(path, '..')), [])
  })

  t.test('for which there is no room is taken back', async t => {
    const { server, file } = await locked(t, () => {})
    const { open } = fsp
    let full = true
    stub(t, fsp, {
      open: async (path, ...rest) => {
        const handle = await open(path, ...rest)
        if (full && String(path).endsWith('.lock')) handle.writeFile = async () => { throw new Error('ENOSPC') }
        return handle
      }
    })
    await t.rejects(server.api.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: /ENOSPC/ })
    t.same(beside(file), [])
    full = false
    const time = await timed(server.api.set(false))
    t.ok(time < 700, `then it is free: ${time.toFixed()} ms`)
  })
})

t.test('new files are for their owner alone, or as open as the state file', async t => {
  const modes = (place: string): Record<string, string> => Object.fromEntries(readdirSync(place, { recursive: true, encoding: 'utf8' })
    .map(name => [name, (lstatSync(join(place, name)).mode & 0o777).toString(8)])
    .map(([name, mode]) => [name!.replace(/@.*/, ''), mode!]))
  const place = directory(t)
  fs.chmodSync(place, 0o2770)
  const file = join(place, 'state.json')
  const servers = '.state.json.servers.swp'
  const server = await serve(t, file)
  await server.api.set(true)
  t.same(modes(place), { 'state.json': '600', 'state.json.history': '600', [servers]: '770', [`${servers}/default`]: '600' })
  t.equal(statSync(join(place, servers)).mode & 0o2000, 0o2000, 'the directory is as the one around it')

  for (const name of ['state.json.history', servers]) rmSync(join(place, name), { recursive: true })
  fs.chmodSync(file, 0o640)
  writeFileSync(file, 'garbage')
  await createFileStore(file).write('default', 'x', { revision: 1 })
  await createFileServers(file).beat('default', 'id', 'entry', 60_000)
  await createFileStore(file, '.history').write('default', 'x', { revision: 1 })
  t.same(modes(place), { 'state.json': '640', 'state.json.unreadable': '640', 'state.json.history': '640', [servers]: '770', [`${servers}/default`]: '640' })
})

t.test("nothing is written through links into somebody else's files", async t => {
  const place = directory(t)
  const victim = join(directory(t), 'victim')
  writeFileSync(victim, 'untouched')
  const file = join(place, 'state.json')
  writeFileSync(file, 'garbage')
  symlinkSync(victim, `${file}.unreadable`)
  await createFileStore(file).write('default', 'x', { revision: 1 })
  t.equal(readFileSync(victim, 'utf8'), 'untouched')

  const servers = join(place, '.state.json.servers.swp')
  const store = createFileServers(file)
  mkdirSync(servers)
  symlinkSync(victim, join(servers, 'default@id'))
  await store.beat('default', 'id', 'entry', 60_000)
  t.equal(readFileSync(victim, 'utf8'), 'untouched')
  t.same(await store.beats('default'), ['entry'])

  rmSync(servers, { recursive: true })
  const elsewhere = directory(t)
  symlinkSync(elsewhere, servers)
  await t.rejects(store.beat('default', 'id', 'entry', 60_000), { code: 'ENOTDIR' })
  t.same(readdirSync(elsewhere), [])
  rmSync(servers)
  writeFileSync(servers, '')
  await t.rejects(store.beat('default', 'id', 'entry', 60_000), { code: 'ENOTDIR' })
  await t.rejects(store.beats('default'), { code: 'ENOTDIR' })
  await t.rejects(createFileServers(join(place, 'none', 'x')).beats('a'), { code: 'ENOENT' })
  await t.rejects(createFileServers(join(place, 'x'.repeat(250))).beat('a', 'b', 'entry', 1000), { code: 'ENAMETOOLONG' })
})

t.test('temporary files of killed servers go once they are old', async t => {
  const file = join(directory(t), 'state.json')
  const servers = join(file, '../.state.json.servers.swp')
  const store = createFileServers(file)
  await store.beat('default', 'a', 'entry', 60_000)
  const temporary = (id: string): string => `.default@b.${id}1234567-89ab-cdef-0123-456789abcdef.tmp`
  for (const id of ['0', '1']) writeFileSync(join(servers, temporary(id)), '')
  utimesSync(join(servers, temporary('0')), Date.now() / 1000 - 20, Date.now() / 1000 - 20)
  await store.beat('default', 'a', 'entry', 60_000)
  await until(() => readdirSync(servers).length === 2, 5000, 'swept')
  t.same(readdirSync(servers).sort(), [temporary('1'), 'default@a'])
})

t.test('a file that grows while it is read, or has no size, is read up to the limit', async t => {
  const file = join(directory(t), 'file')
  writeFileSync(file, 'x'.repeat(70_000))
  t.equal((await readRegular(file, 70_000)).length, 70_000)
  const { open } = fsp
  stub(t, fsp, {
    open: async (...args) => {
      const handle = await open(...args)
      handle.stat = (async () => ({ isFile: () => true, size: 0 })) as unknown as typeof handle.stat
      return handle
    }
  })
  await t.rejects(readRegular(file, 69_999), /more than 69999 bytes/)
})

t.test('sockets, devices and FIFOs beside the state occupy no thread', async t => {
  const file = join(directory(t), 'state.json')
  const servers = join(file, '../.state.json.servers.swp')
  const store = createFileServers(file)
  await store.beat('default', 'own', 'entry', 60_000)
  for (let i = 0; i < 8; i++) execFileSync('mkfifo', [join(servers, `default@fifo${i}`)])
  symlinkSync('/dev/zero', join(servers, 'default@zero'))
  const socket = createServer().listen(join(servers, 'default@socket'))
  t.teardown(() => socket.close())
  await until(() => existsSync(join(servers, 'default@socket')), 1000, 'a socket')
  const time = await timed(Promise.all(Array.from({ length: 8 }, async () => t.same(await store.beats('default'), ['entry']))))
  t.ok(time < 3000, `${time.toFixed()} ms`)
})

t.test('file handles that cannot sync are synced by their descriptor', async t => {
  const handle = await fsp.open(process.execPath)
  const prototype = Object.getPrototypeOf(handle)
  await handle.close()
  const throws = (): never => { throw new Error('Method not implemented.') }
  stub(t, prototype, { sync: throws, datasync: throws })
  const server = await serve(t, join(directory(t), 'state.json'))
  await server.api.set(true)
  t.equal(await server.ask(), 503)
})

t.test('where Node forbids changes to open files, the mode is set by name', async t => {
  const file = join(directory(t), 'state.json')
  writeFileSync(file, OPEN)
  fs.chmodSync(file, 0o644)
  const { open } = fsp
  const denied = async (): Promise<never> => { throw Object.assign(new Error('fchmod API is disabled'), { code: 'ERR_ACCESS_DENIED' }) }
  stub(t, fs, { fsync: (() => { throw Object.assign(new Error('fsync API is disabled'), { code: 'ERR_ACCESS_DENIED' }) }) as unknown as typeof fs.fsync })
  stub(t, fsp, { open: async (...args) => Object.assign(await open(...args), { chown: denied, chmod: denied }) })
  await replace(file, CLOSED)
  t.equal(statSync(file).mode & 0o777, 0o644)
  const failing = async (): Promise<never> => { throw new Error('EPERM') }
  stub(t, fsp, { open: async (...args) => Object.assign(await open(...args), { chown: failing, chmod: failing }) })
  await replace(file, OPEN)
  t.equal(statSync(file).mode & 0o777, 0o600, 'a file system without modes has its own')
})

t.test("under Node's permission model, with the right to the directory alone", async t => {
  const place = directory(t)
  const root = new URL('..', import.meta.url).pathname
  const program = `
    const app = require('fastify')()
    app.register(require('fastify-maintenance'), { store: { file: '${place}/state.json' } })
    app.ready().then(() => app.maintenance.set(true)).then(async () => {
      console.log(app.maintenance.active, (await app.maintenance.servers()).length)
      await app.close()
    })`
  const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission'
  const run = (...rights: string[]) => promisify(execFile)(process.execPath, [flag, '--no-warnings', `--allow-fs-read=${root}`, `--allow-fs-read=${place}/`, ...rights, '-e', program], { cwd: root, env: ENV })
  t.equal((await run(`--allow-fs-write=${place}/`)).stdout, 'true 1\n')
  t.equal(stored(join(place, 'state.json')).on, true)
  const { stderr } = await run().catch((error: { stderr: string }) => error)
  t.match(stderr, /permission model forbids writing.*--allow-fs-write=/)
})

t.test('a process space', async t => {
  t.match(processSpace(), process.platform === 'linux' ? /^[0-9a-f-]{36}\/\d+$/ : hostname())
  t.equal(isDead(process.pid, processSpace()), false)
  for (const pid of [0, -1, NaN, 1.5, 2 ** 31]) t.equal(isDead(pid, processSpace()), false)
  t.equal(isDead(spawnSync(process.execPath, ['-e', '']).pid, processSpace()), true)

  const none = (): never => { throw new Error('ENOENT') }
  stub(t, fs, { readFileSync: none, statSync: none } as unknown as Partial<typeof fs>)
  const own = Object.getOwnPropertyDescriptor(process, 'platform')!
  t.teardown(() => Object.defineProperty(process, 'platform', own))
  Object.defineProperty(process, 'platform', { ...own, value: 'darwin' })
  t.equal(readSpace(), hostname())
  Object.defineProperty(process, 'platform', { ...own, value: 'linux' })
  t.not(readSpace(), readSpace(), 'without /proc, it shares none with others')
})

t.test('a state file that is a mount is refused', async t => {
  const place = join(directory(t), 'with blank \\ and ü')
  mkdirSync(place)
  const file = join(place, 'state.json')
  const other = join(place, 'other.json')
  const link = join(directory(t), 'link.json')
  for (const path of [file, other]) writeFileSync(path, '')
  symlinkSync(file, link)
  const boots = async (store: NonNullable<FastifyMaintenanceOptions['store']>) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(maintenance, { store })
  }
  const { status } = spawnSync('mount', ['--bind', other, file])
  if (status === 0) t.teardown(() => execFileSync('umount', ['-l', file]))
  else {
    const { readFile } = fsp
    const line = `36 35 98:0 /other ${file.replaceAll('\\', '\\134').replaceAll(' ', '\\040')} rw - ext4 /dev/root rw\n`
    stub(t, fsp, { readFile: (async (path: string, ...rest: []) => path === '/proc/self/mountinfo' ? line : readFile(path, ...rest)) as typeof readFile })
  }
  const expected = { code: 'FST_ERR_MAINTENANCE_OPTION', message: /option 'store\.file' is .* a mount of its own, expected .* mount the directory .*with blank \\ and ü instead/ }
  await t.rejects(boots({ file }), expected)
  await t.rejects(boots({ file: link }), expected)
  await t.rejects(boots({ redis: 'redis://127.0.0.1:1', mirror: file }), { code: 'FST_ERR_MAINTENANCE_OPTION', message: /store\.mirror/ })
  await t.resolves(boots({ file: other }))
  if (status === 0) await t.rejects(createFileStore(file).write('default', 'x', { revision: 1 }), /mount the directory/, 'mounted later')
})

t.test('a file server that hangs does not hold up the look for mounts', async t => {
  stub(t, fsp, { realpath: (() => new Promise(() => {})) as unknown as typeof fsp.realpath })
  const time = await timed(refuseMount('store.file', 'x'))
  t.ok(time < 3000, `${time.toFixed()} ms`)
})

t.test('where the directory may not be written to, set says so', async t => {
  const file = join(directory(t), 'state.json')
  const { open } = fsp
  let code = ''
  stub(t, fsp, {
    open: async (path, flags, ...rest) => {
      if (flags === 'wx') throw Object.assign(new Error(`${code}: refused`), { code })
      return open(path, flags, ...rest)
    }
  })
  const log: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: line => { log.push(JSON.parse(line).msg) } } } })
  t.teardown(() => app.close())
  code = 'EROFS'
  await app.register(maintenance, { store: { file } })
  await app.ready()
  for (const [next, why] of Object.entries({ EROFS: /may not write to the directory .*: EROFS/, EACCES: /may not write to/, EPERM: /may not write to/, ERR_ACCESS_DENIED: /--allow-fs-write=/, EBUSY: /mount the directory/, EIO: /EIO: refused/ })) {
    code = next
    await t.rejects(app.maintenance.set(true), { code: 'FST_ERR_MAINTENANCE_STORE', message: why })
  }
  t.equal(log.filter(line => /cannot see this one/.test(line)).length, 1, 'one warning of the heartbeat')
})

t.test("a ConfigMap's files are followed when all of them are swapped", async t => {
  const place = directory(t)
  const file = join(place, 'state.json')
  const swap = (name: string, content: string): void => {
    mkdirSync(join(place, name))
    writeFileSync(join(place, name, 'state.json'), content)
    symlinkSync(name, join(place, '..data_tmp'))
    renameSync(join(place, '..data_tmp'), join(place, '..data'))
  }
  swap('..1', OPEN)
  symlinkSync('..data/state.json', file)
  const server = await serve(t, file)
  t.equal(await server.ask(), 200)
  const store = createFileStore(file)
  t.teardown(() => store.close())
  let hints = 0
  await store.watch(() => { hints++ })
  swap('..2', document({ on: true, revision: 1001 }))
  rmSync(join(place, '..1'), { recursive: true })
  await until(async () => await server.ask() === 503, 1500, 'closed')
  await until(() => hints > 0, 1000, 'a hint')
})

t.test('a history', async t => {
  t.test('lies beside the file that links lead to', async t => {
    const shared = directory(t)
    const releases = [directory(t), directory(t)].map(release => join(release, 'state.json'))
    for (const release of releases) symlinkSync(join(shared, 'state.json'), release)
    const paths = [join(shared, 'state.json'), ...releases]
    for (const [i, path] of paths.entries()) await createFileHistory(createFileStore(path, '.history')).append('default', `entry ${i}`)
    for (const path of paths) t.same(await createFileHistory(createFileStore(path, '.history')).list('default', 9), ['entry 2', 'entry 1', 'entry 0'])
    t.same(readdirSync(shared), ['state.json.history'])
  })

  t.test('that was edited by hand goes on', async t => {
    for (const record of ['{"count":7,"entries":["old"]}', '{"count":"7"}', '{"count":1,"entries":[1]}', '{', 'null']) {
      const pages = createFileStore(join(directory(t), 'history'))
      const history = createFileHistory(pages)
      await pages.write('default', record, { revision: 3 })
      await history.append('default', 'new')
      t.same(await history.list('default', 9), record.includes('old') ? ['new', 'old'] : ['new'])
    }
  })
})
