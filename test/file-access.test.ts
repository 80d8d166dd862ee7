import { execFile, execFileSync, spawnSync } from 'node:child_process'
import fs, {
  existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync
} from 'node:fs'
import fsp from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import t from 'tap'
import maintenance from '../index.ts'
import { createFileStore } from '../lib/stores/file/file-store.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import { refuseMount } from '../lib/stores/file/mount.ts'
import type { FastifyMaintenanceOptions } from '../types/index.ts'
import { beside, CLOSED, directory, ENV, isRoot, OPEN, replace, serve, stored, stub } from './fixtures/file-store.ts'
import { until } from './fixtures/app.ts'

t.test('replacing a file keeps its mode, owner and links', async t => {
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
  t.equal(stored(file).windows.length, 1)
})

t.test('a new file is always as private as the one it replaces', async t => {
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

t.test('without the right to change the owner, at least the group is kept, and it still writes', async t => {
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

t.test('a system that cannot sync directories still writes', async t => {
  const { open } = fsp
  const place = directory(t)
  const file = join(place, 'state.json')
  let fail = 'open'
  let descriptor: number | undefined
  const { fsync } = fs
  stub(t, fs, {
    fsync: ((
      fd: number, done: (error: Error | null) => void
    ) => fd === descriptor ? done(new Error('EINVAL')) : fsync(fd, done)) as typeof fsync
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

t.test('new files are private to their owner, or have the mode of the state file', async t => {
  const modes = (place: string): Record<string, string> =>
    Object.fromEntries(readdirSync(place, { recursive: true, encoding: 'utf8' })
      .map(name => [name, (lstatSync(join(place, name)).mode & 0o777).toString(8)])
      .map(([name, mode]) => [name!.replace(/[0-9a-f-]{36}$/, 'id'), mode!]))
  const place = directory(t)
  fs.chmodSync(place, 0o2770)
  const file = join(place, 'state.json')
  const servers = '.state.json.servers.swp'
  const server = await serve(t, file)
  await server.api.set(true)
  t.same(modes(place), { 'state.json': '600', 'state.json.history': '600', [servers]: '770', [`${servers}/id`]: '600' })
  t.equal(statSync(join(place, servers)).mode & 0o2000, 0o2000, 'the directory inherits from its parent')

  for (const name of ['state.json.history', servers]) rmSync(join(place, name), { recursive: true })
  fs.chmodSync(file, 0o640)
  writeFileSync(file, 'garbage')
  await createFileStore(file).write('default', 'x', { revision: 1 })
  await createFileServers(file).heartbeat('id', 'entry', 60_000)
  await createFileStore(file, '.history').write('default', 'x', { revision: 1 })
  t.same(modes(place), {
    'state.json': '640',
    'state.json.unreadable': '640',
    'state.json.history': '640',
    [servers]: '770',
    [`${servers}/id`]: '640'
  })
})

t.test("nothing is written through links into other users' files", async t => {
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
  symlinkSync(victim, join(servers, 'id'))
  await store.heartbeat('id', 'entry', 60_000)
  t.equal(readFileSync(victim, 'utf8'), 'untouched')
  t.same(await store.heartbeats(), ['entry'])

  rmSync(servers, { recursive: true })
  const elsewhere = directory(t)
  symlinkSync(elsewhere, servers)
  await t.rejects(store.heartbeat('id', 'entry', 60_000), { code: 'ENOTDIR' })
  t.same(readdirSync(elsewhere), [])
  rmSync(servers)
  writeFileSync(servers, '')
  await t.rejects(store.heartbeat('id', 'entry', 60_000), { code: 'ENOTDIR' })
  await t.rejects(store.heartbeats(), { code: 'ENOTDIR' })
  await t.rejects(createFileServers(join(place, 'none', 'x')).heartbeats(), { code: 'ENOENT' })
  await t.rejects(
    createFileServers(join(place, 'x'.repeat(250))).heartbeat('b', 'entry', 1000),
    { code: 'ENAMETOOLONG' }
  )
})

t.test('sockets, devices and FIFOs beside the state block no thread', async t => {
  const file = join(directory(t), 'state.json')
  const servers = join(file, '../.state.json.servers.swp')
  const store = createFileServers(file)
  await store.heartbeat('own', 'entry', 60_000)
  for (let i = 0; i < 8; i++) execFileSync('mkfifo', [join(servers, `fifo${i}`)])
  symlinkSync('/dev/zero', join(servers, 'zero'))
  const socket = createServer().listen(join(servers, 'socket'))
  t.teardown(() => socket.close())
  await until('a socket', () => existsSync(join(servers, 'socket')))
  await Promise.all(Array.from({ length: 8 }, async () => t.same(await store.heartbeats(), ['entry'])))
  t.pass('none of them waits forever')
})

t.test('file handles that cannot sync are synced by descriptor', async t => {
  const handle = await fsp.open(process.execPath)
  const prototype = Object.getPrototypeOf(handle)
  await handle.close()
  const throws = (): never => { throw new Error('Method not implemented.') }
  stub(t, prototype, { sync: throws, datasync: throws })
  const server = await serve(t, join(directory(t), 'state.json'))
  await server.api.set(true)
  t.equal(await server.ask(), 503)
})

t.test('if Node forbids changes to open files, the mode is set by name', async t => {
  const file = join(directory(t), 'state.json')
  writeFileSync(file, OPEN)
  fs.chmodSync(file, 0o644)
  const { open } = fsp
  const denied = async (): Promise<never> => {
    throw Object.assign(new Error('fchmod API is disabled'), { code: 'ERR_ACCESS_DENIED' })
  }
  stub(t, fs, {
    fsync: (() => {
      throw Object.assign(new Error('fsync API is disabled'), { code: 'ERR_ACCESS_DENIED' })
    }) as unknown as typeof fs.fsync
  })
  stub(t, fsp, { open: async (...args) => Object.assign(await open(...args), { chown: denied, chmod: denied }) })
  await replace(file, CLOSED)
  t.equal(statSync(file).mode & 0o777, 0o644)
  const failing = async (): Promise<never> => { throw new Error('EPERM') }
  stub(t, fsp, { open: async (...args) => Object.assign(await open(...args), { chown: failing, chmod: failing }) })
  await replace(file, OPEN)
  t.equal(statSync(file).mode & 0o777, 0o600, 'a file system without modes keeps its own')
})

t.test("under Node's permission model, with access to the directory only", async t => {
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
  // without tap's preloads for coverage, which are forbidden too
  const run = (...rights: string[]) => promisify(execFile)('env', [
    '-u', 'NODE_OPTIONS', process.execPath, flag, '--no-warnings', `--allow-fs-read=${root}`,
    `--allow-fs-read=${place}/`, ...rights, '-e', program
  ], { cwd: root, env: ENV })
  t.equal((await run(`--allow-fs-write=${place}/`)).stdout, 'true 1\n')
  t.equal(stored(join(place, 'state.json')).windows.length, 1)
  const { stderr } = await run().catch((error: { stderr: string }) => error)
  t.match(stderr, /permission model forbids writing.*--allow-fs-write=/)
})

t.test('a state file that is a mount is rejected', async t => {
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
    stub(t, fsp, {
      readFile: (async (path: string, ...rest: []) =>
        path === '/proc/self/mountinfo' ? line : readFile(path, ...rest)) as typeof readFile
    })
  }
  const expected = {
    code: 'FST_ERR_MAINTENANCE_OPTION',
    message: /option 'store\.file' is .* a mount of its own, expected .* mount the directory .*with blank \\ and ü instead/
  }
  await t.rejects(boots({ file }), expected)
  await t.rejects(boots({ file: link }), expected)
  await t.rejects(boots({ redis: 'redis://127.0.0.1:1', mirror: file }), {
    code: 'FST_ERR_MAINTENANCE_OPTION', message: /store\.mirror/
  })
  await t.resolves(boots({ file: other }))
  if (status === 0) {
    await t.rejects(
      createFileStore(file).write('default', 'x', { revision: 1 }),
      /mount the directory/,
      'mounted later'
    )
  }
})

t.test('a file server that hangs does not delay the check for mounts', async t => {
  stub(t, fsp, { realpath: (() => new Promise(() => {})) as unknown as typeof fsp.realpath })
  await t.resolves(refuseMount('store.file', 'x'))
})

t.test('if the directory is not writable, set reports it', async t => {
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
  for (const [next, why] of Object.entries({
    EROFS: /may not write to the directory .*: EROFS/,
    EACCES: /may not write to/,
    EPERM: /may not write to/,
    ERR_ACCESS_DENIED: /--allow-fs-write=/,
    EBUSY: /mount the directory/,
    EIO: /EIO: refused/
  })) {
    code = next
    await t.rejects(app.maintenance.set(true), { code: 'FST_ERR_MAINTENANCE_STORE', message: why })
  }
  t.equal(log.filter(line => /cannot see this one/.test(line)).length, 1, 'one warning by the heartbeat')
})
