import { execFileSync, spawnSync } from 'node:child_process'
import fs, {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import fsp from 'node:fs/promises'
import { hostname } from 'node:os'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createFileStore } from '../lib/stores/file/file-store.ts'
import { takeLock as takeLockLike } from '../lib/stores/file/lock.ts'
import { isDead, processSpace, readSpace } from '../lib/util/process-liveness.ts'
import { createFileServers } from '../lib/stores/file/servers.ts'
import {
  beside, cleared, directory, message, replace, serve, start, stored, stub, timed, write
} from './fixtures/file-store.ts'
import { retried, until } from './fixtures/app.ts'

const PRIVATE = { mode: 0o600, uid: -1, gid: -1 }

const takeLock = (path: string) => takeLockLike(path, PRIVATE)

/** Stops the clock, so that no lock becomes stale. */
const stopClock = (t: Test): void => stub(t, performance, { now: () => 1000 })

t.test('a write removes files of killed writers, and no others', async t => {
  const file = join(directory(t), 'state.json')
  const id = '01234567-89ab-cdef-0123-456789abcdef'
  const place = join(file, '..')
  const others = [
    'state.json.backup.tmp', `.state.json.eu.${id}.tmp`, `.other.json.${id}.tmp`, `state.json.${id}`,
    `state.json.${id}.tmp`, `.state.json.${id.slice(1)}.tmp`
  ]
  for (const name of [`.state.json.${id}.tmp`, ...others]) writeFileSync(join(place, name), '')
  // a file that cannot be removed does not stop a write
  mkdirSync(join(place, `.state.json.${id.replace('0', 'f')}.tmp`))
  await createFileStore(file).write('default', 'a', { revision: 1 })
  t.same(beside(file).sort(), [...others, `.state.json.${id.replace('0', 'f')}.tmp`].sort())
  await t.rejects(replace(join(file, 'none', 'x'), ''))
})

t.test('a lock', async t => {
  /** A store whose lock `make` has written, and a server that uses it. */
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

  t.test('of a dead process is removed at once', async t => {
    const { server, file } = await locked(t, write(dead))
    stopClock(t)
    await t.resolves(server.api.set(false), 'without waiting until it is stale')
    t.same(stored(file).windows, [])
    await cleared(t, file)
  })

  t.test('that is not renewed is removed once stale', async t => {
    const long = new Date(Date.now() - 3600_000)
    const kinds: Record<string, (lock: string) => void> = {
      'of another host': write(elsewhere),
      'of another host, with an old date': lock => {
        writeFileSync(lock, elsewhere)
        utimesSync(lock, long, long)
      },
      'of another host, with a future date': lock => {
        writeFileSync(lock, elsewhere)
        utimesSync(lock, Date.now() / 1000 + 3600, Date.now() / 1000 + 3600)
      },
      'of this host, but of another PID namespace': write(dead.replace(here, here.replace(/\d+$/, '1'))),
      'of a live process that hangs': write(`${process.pid} ${here} host x`),
      'that is empty, because its writer died': write(''),
      'that is a FIFO': lock => execFileSync('mkfifo', [lock]),
      'whose remover died': lock => {
        writeFileSync(lock, dead)
        writeFileSync(`${lock}.breaking`, dead)
      }
    }
    await Promise.all(Object.entries(kinds).map(async ([kind, make]) => {
      const { server, file } = await locked(t, make)
      const time = await timed(retried(() => server.api.set(false)))
      t.ok(time > 1000, `${kind}: after ${time.toFixed()} ms`)
      t.same(stored(file).windows, [])
      await cleared(t, file)
    }))
  })

  t.test('that names no live process here is removed once stale', async t => {
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
      "a link to another user's file, as is the lock for removing it": lock => {
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
      const time = await timed(retried(() => takeLock(path)).then(lock => lock.release()))
      t.ok(time > 1000, `${kind}: after ${time.toFixed()} ms`)
      t.same(readdirSync(join(path, '..')), [])
    }))
    t.equal(readFileSync(victim, 'utf8'), dead)
  })

  t.test('whose remover died afterwards leaves nothing behind', async t => {
    const { server, file } = await locked(t, lock => writeFileSync(`${lock}.breaking`, dead))
    await retried(() => server.api.set(false))
    await cleared(t, file)
  })

  t.test('that passes between live writers makes set reject and name its holder', async t => {
    const { server, file, lock, before } = await locked(t, () => {})
    let turn = 0
    const pass = (): void => {
      writeFileSync(`${lock}.next`, `4711 elsewhere/1 shop-3 ${turn++}`)
      renameSync(`${lock}.next`, lock)
    }
    pass()
    const timer = setInterval(pass, 200)
    t.teardown(() => clearInterval(timer))
    await t.rejects(server.api.set(false), {
      code: 'FST_ERR_MAINTENANCE_STORE',
      message: /state\.json\.lock is held by process 4711 on host 'shop-3'|no answer within/
    })
    await t.rejects(
      createFileStore(file).write('default', 'x', { revision: 2 }),
      /state\.json\.lock is held by process 4711 on host 'shop-3'/
    )
    clearInterval(timer)
    t.equal(readFileSync(file, 'utf8'), before)
    await cleared(t, file, ['state.json.lock'])
    t.equal(await server.ask(), 503)
  })

  t.test('that is a directory makes set reject', async t => {
    const { server, file, before } = await locked(t, lock => mkdirSync(lock))
    await t.rejects(server.api.set(false), {
      code: 'FST_ERR_MAINTENANCE_STORE', message: /state\.json\.lock is held by something unknown: remove it/
    })
    t.equal(readFileSync(file, 'utf8'), before)
  })

  t.test('that was lost does not replace the file', async t => {
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
    t.equal(readFileSync(lock, 'utf8'), elsewhere, "the other writer's lock is kept")
    await cleared(t, file, ['state.json.lock'])
    t.equal(await server.ask(), 503)
  })

  t.test('of a writer that stopped for a long time is found lost when it continues', async t => {
    const file = join(directory(t), 'state.json')
    const child = start(t, 'file-writer.ts', [file, 'stop'])
    await message(child)
    const report = message<string>(child)
    child.send('go')
    await until('it is stopped with the lock', () => existsSync(`${file}.lock`) && /^\d+ \(.*\) T/.test(
      readFileSync(`/proc/${child.pid}/stat`, 'utf8')
    ))
    const store = createFileStore(file)
    const time = await timed(retried(() => store.write('default', 'of the other', { revision: 2 })))
    t.ok(time > 1000, `written after ${time.toFixed()} ms`)
    child.kill('SIGCONT')
    t.match(await report, /was lost/)
    t.equal(await store.read('default'), 'of the other')
    await cleared(t, file)
  })

  t.test('whose remover was stopped does not affect the next one', async t => {
    const path = join(directory(t), 'a.lock')
    const { open } = fsp
    let next: Awaited<ReturnType<typeof takeLock>> | undefined
    writeFileSync(path, dead)
    stub(t, fsp, {
      open: async (name, ...rest) => {
        // it has found the lock stale; before it removes it, another process does, and a third one takes it
        if (name === `${path}.breaking` && next === undefined) {
          unlinkSync(path)
          next = await takeLock(path)
        }
        return open(name, ...rest)
      }
    })
    const late = takeLock(path)
    await until('the next one has the lock', () => next !== undefined && !existsSync(`${path}.breaking`))
    await t.resolves(next!.check(), 'it keeps it')
    await next!.release()
    await (await late).release()
    t.same(readdirSync(join(path, '..')), [])
  })

  t.test('for which the disk has no room is removed', async t => {
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
    await cleared(t, file)
    full = false
    stopClock(t)
    await t.resolves(server.api.set(false), 'the lock is free again')
  })
})

t.test('temporary files of killed servers are removed once old', async t => {
  const file = join(directory(t), 'state.json')
  const servers = join(file, '../.state.json.servers.swp')
  const store = createFileServers(file)
  await store.heartbeat('a', 'entry', 60_000)
  const temporary = (id: string): string => `.b.${id}1234567-89ab-cdef-0123-456789abcdef.tmp`
  for (const id of ['0', '1']) writeFileSync(join(servers, temporary(id)), '')
  utimesSync(join(servers, temporary('0')), Date.now() / 1000 - 20, Date.now() / 1000 - 20)
  await store.heartbeat('a', 'entry', 60_000)
  await until('old files are removed', () => readdirSync(servers).length === 2)
  t.same(readdirSync(servers).sort(), [temporary('1'), 'a'])
})

t.test('a list of servers that cannot be read is not treated as empty', async t => {
  const store = createFileServers(join(directory(t), 'state.json'))
  await store.heartbeat('a', 'entry', 60_000)
  const { open } = fsp
  stub(t, fsp, {
    open: async (path, ...rest) => {
      if (String(path).endsWith('.swp/a')) {
        throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' })
      }
      return open(path, ...rest)
    }
  })
  await t.rejects(store.heartbeats(), { code: 'EMFILE' })
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
  t.not(readSpace(), readSpace(), 'without /proc, each is unique')
})
