import { randomUUID } from 'node:crypto'
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf } from '../errors.ts'

/** A lock whose holder is on another host, or cannot be asked, is broken after this time, ms. */
const STALE_AFTER = 1500
/** How long to wait for it, ms: longer than a stale one lives, shorter than `set` may take. */
const WAIT_MAX = 1700

interface Lock {
  /** Throws where someone else has taken the lock for stale and broken it. */
  check (): Promise<void>
  release (): Promise<void>
}

/**
 * One writer at a time, on all processes and hosts that share the directory: a file that only one can
 * create. The lock of a dead process of this host is broken at once, any other when it is stale.
 * @param path of the lock file
 */
export async function takeLock (path: string): Promise<Lock> {
  const token = `${process.pid} ${hostname()} ${randomUUID()}`
  const deadline = Date.now() + WAIT_MAX
  while (!await create(path, token)) {
    await breakStale(path)
    if (Date.now() > deadline) throw new Error(`another writer holds ${path} (process and host: ${await holder(path)})`)
    await sleep(2 + Math.random() * 10)
  }
  return {
    async check () {
      if (await holder(path) !== token) throw new Error(`the lock ${path} was lost: writing took longer than ${STALE_AFTER} ms`)
    },
    async release () {
      if (await holder(path) === token) await rm(path, { force: true })
    }
  }
}

async function create (path: string, token: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx')
    await file.writeFile(token).finally(() => file.close())
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

const holder = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

/**
 * Moves a stale lock away. Between the look and the move its holder may have released it and the next
 * writer taken it: a lock that turns out to be another one is put back.
 */
async function breakStale (path: string): Promise<void> {
  const token = await holder(path)
  if (!await isStale(path, token)) return
  const away = `${path}.${randomUUID()}.tmp`
  try {
    await rename(path, away)
    if (await holder(away) !== token) await link(away, path)
  } catch {
    // someone else was faster; the next round looks again
  } finally {
    await rm(away, { force: true })
  }
}

async function isStale (path: string, token: string): Promise<boolean> {
  const [pid, host] = token.split(' ')
  if (host === hostname() && !isAlive(Number(pid))) return true
  const age = await stat(path).then(stats => Date.now() - stats.mtimeMs, () => 0)
  return age > STALE_AFTER
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}
