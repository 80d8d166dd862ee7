import { execFileSync, spawnSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import fs, {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync
} from 'node:fs'
import fsp from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createFileStore } from '../lib/stores/file/file-store.ts'
import { createFileHistory } from '../lib/stores/file/history.ts'
import { readRegular } from '../lib/stores/file/read-regular-file.ts'
import {
  cleared, CLOSED, directory, document, ENV, isRoot, message, OPEN, serve, start, stored, stub, write
} from './fixtures/file-store.ts'
import { until } from './fixtures/app.ts'
import { storedWindow } from './fixtures/records.ts'

/** Invalid files that are small and regular: `set` repairs them. */
const GARBAGE: Record<string, [make: (file: string) => void, why: RegExp]> = {
  'is empty': [write(''), /empty/],
  'is truncated': [write(OPEN.slice(0, -20)), /no JSON/],
  'is UTF-16': [write(Buffer.from(`\ufeff${OPEN}`, 'utf16le')), /UTF-8/],
  'is UTF-16 without a BOM': [write(Buffer.from(OPEN, 'utf16le')), /no JSON/],
  'is Latin-1': [write(Buffer.from(document([storedWindow({ message: 'Gr\u00fc\u00dfe' })]), 'latin1')), /UTF-8/],
  'is of another program': [write('{"on":false}'), /expected { v: 1/],
  'is of a later version': [write(OPEN.replace('"v":1', '"v":2')), /expected { v: 1/],
  'holds an invalid entry': [write('{"v":1,"sites":{"default":null}}'), /expected { revision, record }/],
  'holds an invalid record': [write(
    JSON.stringify({ v: 1, sites: { default: { revision: 1000, record: '{"v":2,"windows":"none"}' } } })
  ), /expected/],
  'has the revision 1e300': [write(OPEN.replaceAll('1000', '1e300')), /expected/],
  'has the revision 2^53': [write(document([], { revision: 2 ** 53 })), /expected/],
  'has a revision from tomorrow': [write(document([], { revision: Date.now() + 25 * 3600_000 })), /expected/],
  'has the revision 2^53 - 1 around a valid record': [write(document([], {}, { revision: 2 ** 53 - 1 })), /expected/],
  'has the revision 1e300 around a valid record': [
    write(OPEN.replace('"revision":1000', '"revision":1e300')), /expected/
  ]
}

/** Files that are neither read nor replaced. */
const ODD: Record<string, [make: (file: string) => void, why: RegExp]> = {
  'has 10 MB': [write(Buffer.alloc(10_000_000, ' ')), /10000000 bytes/],
  'is a FIFO': [file => execFileSync('mkfifo', [file]), /no regular file/],
  'is a directory': [file => mkdirSync(file), /no regular file|EISDIR/],
  'is a link to /dev/zero': [file => symlinkSync('/dev/zero', file), /no regular file/],
  'is a link to itself': [file => symlinkSync(file, file), /ELOOP/]
}

t.test('a watch reports changes of other processes, also through links', async t => {
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
    await until(`a hint at ${path}`, () => hints > 0)
    await store.close()
    await store.close()
    hints = 0
    const other = createFileStore(file)
    t.teardown(() => other.close())
    let others = 0
    await other.watch(() => { others++ })
    await other.write('default', 'b', { revision: 2 })
    await until('a hint for the other watcher', () => others > 0)
    t.equal(hints, 0, 'a closed store gives no more hints')
  }
})

t.test('a watch that starts after closing ends at once', async t => {
  let watches = 0
  stub(t, fs, { watch: (() => { watches++ }) as unknown as typeof fs.watch })
  const store = createFileStore(join(directory(t), 'state.json'))
  const watching = store.watch(() => {})
  await store.close()
  await watching
  t.equal(watches, 0)
})

t.test('a watch that fails ends; an event without a file name is a hint', async t => {
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

t.test('watching a store in a missing directory has no effect', async t => {
  const store = createFileStore(join(directory(t), 'none', 'state.json'))
  await t.resolves(Promise.resolve(store.watch(() => {})))
  await t.rejects(store.read('default'), { code: 'ENOENT' })
  await t.rejects(store.write('default', 'a', { revision: 1 }), { code: 'ENOENT' })
})

t.test('a full disk leaves the old state intact', async t => {
  const place = directory(t)
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', place], { encoding: 'utf8' })
  if (status !== 0) {
    return t.pass('a full disk', {
      skip: `no small disk can be mounted here (the next test has another limit): ${stderr}`
    })
  }
  const file = join(place, 'state.json')
  const filler = join(place, 'filler')
  // teardowns run in reverse order
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
  await t.rejects(
    server.api.set(false),
    { code: 'FST_ERR_MAINTENANCE_STORE', message: /ENOSPC/ },
    'no room for the lock'
  )
  await cleared(t, file, ['filler'])
  fs.truncateSync(filler, statSync(filler).size - 4096)
  await t.rejects(
    server.api.set(false, { by: 'x' }),
    { code: 'FST_ERR_MAINTENANCE_STORE', message: /ENOSPC/ },
    'room for the lock only'
  )
  await cleared(t, file, ['filler'])
  t.equal(readFileSync(file, 'utf8'), before)
  t.equal(await server.ask(), 503)
  t.match(server.api.status(), { active: true, message: 'before' })

  unlinkSync(filler)
  await server.api.set(false)
  t.equal(await server.ask(), 200)
  await cleared(t, file)
})

t.test('a limit of file sizes leaves the old state intact', async t => {
  const file = join(directory(t), 'state.json')
  const store = createFileStore(file)
  const program = new URL('fixtures/file-large.ts', import.meta.url).pathname
  const run = (limit: string): string => execFileSync('sh', [
    '-c', `ulimit -f ${limit} && exec "$@"`, 'sh', process.execPath, '--import', 'tsx', program, file
  ], {
    encoding: 'utf8', env: { ...ENV, TSX_DISABLE_CACHE: '1' }
  }).trim()
  await store.write('default', 'before', { revision: 1 })

  t.equal(run('4'), 'EFBIG')
  t.equal(await store.read('default'), 'before')
  await cleared(t, file)
  t.equal(run('unlimited'), 'written')
  t.equal(await store.read('default'), 'x'.repeat(5000))
  await cleared(t, file)
})

t.test('a state that would become too large is rejected', async t => {
  const file = join(directory(t), 'state.json')
  const store = createFileStore(file)
  await store.write('a', 'before', { revision: 1 })
  await t.rejects(store.write('a', 'x'.repeat(1024 * 1024), { revision: 2 }), /larger than 1048576 bytes/)
  t.equal(await store.read('a'), 'before')
  await cleared(t, file)
})

t.test('a server boots closed on a file that', async t => {
  for (const [kind, [make, why]] of Object.entries({ ...GARBAGE, ...ODD })) {
    t.test(kind, async t => {
      const file = join(directory(t), 'state.json')
      make(file)
      const server = await serve(t, file)
      for (let i = 0; i < 10; i++) t.equal(await server.ask(), 503)
      await server.api.refresh()
      t.match(server.api.status(), { source: 'unreadable', active: true, store: { connected: true, error: why } })
      t.equal(server.calls, 0)
      t.equal(server.errors().length, 1, 'one error in the log')
      t.match(server.errors()[0], why)

      if (kind in ODD) {
        const before = lstatSync(file)
        await t.rejects(server.api.set(false), { code: 'FST_ERR_MAINTENANCE_STORE', message: why })
        const { ino, size, mode } = lstatSync(file)
        t.same({ ino, size, mode }, { ino: before.ino, size: before.size, mode: before.mode }, 'it is unchanged')
        await cleared(t, file)
        t.equal(await server.ask(), 503)
        t.equal(server.calls, 0)
      } else {
        const before = readFileSync(file)
        await server.api.set(false)
        t.match(server.api.status(), { source: 'store', active: false, store: { error: null } })
        t.equal(await server.ask(), 200)
        t.equal(stored(file).windows.length, 0)
        const kept = existsSync(`${file}.unreadable`) && readFileSync(`${file}.unreadable`)
        if (/record|entry|revision/.test(kind)) t.equal(kept, false, 'a valid document is not copied')
        else t.same(kept, before, 'a copy is kept')
        await server.api.set(true)
        t.equal(await server.ask(), 503, 'it can be closed again')
        t.equal(stored(file).windows.length, 1)
      }
    })
  }

  t.test('is not readable', async t => {
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

t.test('garbage is replaced a second time too, and the first copy is kept', async t => {
  const file = join(directory(t), 'state.json')
  for (const [revision, garbage] of ['first', 'second'].entries()) {
    writeFileSync(file, garbage)
    await createFileStore(file).write('a', garbage, { revision: revision + 1, expectedRevision: 0 })
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

t.test('the last known state is kept while the file', async t => {
  for (const [kind, [make, why]] of Object.entries({ ...GARBAGE, ...ODD })) {
    t.test(kind, async t => {
      for (const on of [true, false]) {
        const file = join(directory(t), 'state.json')
        const server = await serve(t, file)
        const { revision } = await server.api.set(on)
        rmSync(file)
        make(file)
        await server.api.refresh()
        t.match(server.api.status(), { active: on, revision, source: 'store', store: { error: why } })
        t.equal(await server.ask(), on ? 503 : 200)
        t.equal(server.errors().length, 1)
        rmSync(file, { recursive: true })
        writeFileSync(file, document(on ? [] : [storedWindow()], { revision: revision + 1 }))
        await server.api.refresh()
        t.match(server.api.status(), { active: !on, store: { error: null } }, 'the next state is adopted')
      }
    })
  }
})

t.test('a running server repairs', async t => {
  const scenes: Record<string, (file: string, first: string) => void> = {
    'a deleted file': file => rmSync(file),
    'an older state that was restored': (file, first) => writeFileSync(file, first)
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
      await until('repaired', () => server.api.status().store.error === null)
      t.match(stored(file), { windows: [{ by: 'second' }], by: 'second', revision })
      t.equal(await server.ask(), 503)
      t.equal(server.calls, 0)
    })
  }

  t.test('a deleted directory, once it is back', async t => {
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
    await until('written again', () => existsSync(file))
    t.match(stored(file), { windows: [{}], revision })
    await until('recovered', () => server.api.status().store.error === null)
    t.equal(await server.ask(), 503)
    t.equal(server.calls, 0)
  })
})

t.test('without a directory there is no store, and `whenUnknown` applies', async t => {
  const file = join(directory(t), 'none', 'state.json')
  for (const closed of [true, false]) {
    const server = await serve(t, file, closed ? 'closed' : 'open')
    t.match(server.api.status(), { source: 'unknown', active: closed, store: { connected: false, error: /ENOENT/ } })
    t.equal(await server.ask(), closed ? 503 : 200)
    t.equal(server.errors().length, 1)
    await t.rejects(server.api.set(!closed), { code: 'FST_ERR_MAINTENANCE_STORE', message: /ENOENT/ })
  }
  t.notOk(existsSync(join(file, '..')), 'no directory is created, as a disk may be mounted there')
})

t.test('a link to a missing file', async t => {
  const place = directory(t)
  const target = join(place, 'target', 'state.json')
  const link = join(place, 'link.json')
  symlinkSync('link2.json', link)
  symlinkSync('target/state.json', join(place, 'link2.json'))
  const store = createFileStore(link)
  await t.rejects(store.read('default'), { code: 'ENOENT' }, 'without a directory the store fails')
  mkdirSync(join(place, 'target'))
  t.equal(await store.read('default'), null)
  await store.write('default', 'first', { revision: 1, expectedRevision: 0 })
  t.ok(lstatSync(link).isSymbolicLink(), 'it is still a link')
  t.equal(JSON.parse(readFileSync(target, 'utf8')).sites.default.record, 'first')
  t.equal(await store.read('default'), 'first')
})

t.test('simultaneous reads share one access, a later one reads again', async t => {
  const file = join(directory(t), 'state.json')
  const store = createFileStore(file)
  await store.write('a', 'first', { revision: 1 })
  const { open } = fsp
  let accesses = 0
  stub(t, fsp, {
    open: async (path, ...rest) => {
      if (path === file && ++accesses === 1) {
        const handle = await open(path, ...rest)
        // another process writes between its read and its answer
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
  t.equal(accesses, 2)
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

t.test("a ConfigMap's files are followed when they are swapped", async t => {
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
  swap('..2', document([storedWindow()], { revision: 1001 }))
  rmSync(join(place, '..1'), { recursive: true })
  await until('closed', async () => await server.ask() === 503)
  await until('a hint', () => hints > 0)
})

t.test('a history', async t => {
  t.test('is beside the file that links lead to', async t => {
    const shared = directory(t)
    const releases = [directory(t), directory(t)].map(release => join(release, 'state.json'))
    for (const release of releases) symlinkSync(join(shared, 'state.json'), release)
    const paths = [join(shared, 'state.json'), ...releases]
    for (const [i, path] of paths.entries()) {
      await createFileHistory(createFileStore(path, '.history')).appendHistory('default', `entry ${i}`)
    }
    for (const path of paths) {
      t.same(
        await createFileHistory(createFileStore(path, '.history')).listHistory('default', 9),
        ['entry 2', 'entry 1', 'entry 0']
      )
    }
    t.same(readdirSync(shared), ['state.json.history'])
  })

  t.test('that was edited by hand still works', async t => {
    for (const record of ['{"count":7,"entries":["old"]}', '{"count":"7"}', '{"count":1,"entries":[1]}', '{', 'null']) {
      const pages = createFileStore(join(directory(t), 'history'))
      const history = createFileHistory(pages)
      await pages.write('default', record, { revision: 3 })
      await history.appendHistory('default', 'new')
      t.same(await history.listHistory('default', 9), record.includes('old') ? ['new', 'old'] : ['new'])
    }
  })
})
