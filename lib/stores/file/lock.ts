import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, show } from '../../errors.ts'
import { createFile, type Access } from './atomic-write.ts'
import { isDead, processSpace } from '../../util/process-liveness.ts'
import { readRegular } from './read-regular-file.ts'

/** A lock held by another host or a hung process is stale after this long (ms). */
const STALE_AFTER = 1400
/** How long to wait for the lock (ms): longer than a stale one lives, shorter than `set` may take. */
const WAIT_MAX = 1650
const TOKEN_MAX = 1000

/** How many writers of this process wait for a lock. They share one rate of polling, or they would slow its holder. */
let waiting = 0

export interface Lock {
  /** Throws if another process has taken this lock for a stale one and broken it. */
  check (): Promise<void>
  release (): Promise<void>
}

/**
 * One writer at a time among all processes and hosts that share the directory: a file that only one can
 * create. The lock of a dead process of this host is broken at once, any other when it is stale.
 * @param path of the lock file
 */
export async function takeLock (path: string, access: Access): Promise<Lock> {
  const token = [process.pid, processSpace(), hostname(), randomUUID()].join(' ')
  const began = performance.now()
  let seen = { token: '', since: began }
  while (!await create(path, token, access)) {
    const now = performance.now()
    const other = await holder(path)
    // watched instead of asking for its date: a file server has a clock of its own
    if (other !== seen.token) seen = { token: other, since: now }
    if (isHolderDead(other) || now - seen.since > STALE_AFTER) await breakLock(path, other, access)
    if (now - began > WAIT_MAX) throw new Error(`${path} is held by ${inWords(other)}`)
    await pause()
  }
  return {
    async check () {
      if ((await holder(path)) !== token) {
        throw new Error(`the lock ${path} was lost: writing took longer than ${STALE_AFTER} ms`)
      }
    },
    async release () {
      if (await holder(path) !== token) return
      await remove(breakingOf(path))
      await remove(path)
    }
  }
}

async function pause (): Promise<void> {
  waiting++
  await sleep((2 + Math.random() * 10) * waiting)
  waiting--
}

/** @returns false if there is one already */
async function create (path: string, token: string, access: Access): Promise<boolean> {
  try {
    await createFile(path, token, access)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** @returns `''` for none, and for what is no lock of ours: a link, a FIFO, a device, a large file */
const holder = (path: string): Promise<string> =>
  readRegular(path, TOKEN_MAX, constants.O_NOFOLLOW).then(String).catch(() => '')

function inWords (token: string): string {
  const [pid, , host] = token.split(' ')
  return host === undefined
    ? 'something unknown: remove it if it stays'
    : `process ${Number(pid)} on host ${show(host)}`
}

/** A lock that cannot be removed becomes stale. */
const remove = (path: string): Promise<void> => rm(path, { force: true }).catch(() => {})

function isHolderDead (token: string): boolean {
  const [pid, space = ''] = token.split(' ')
  return isDead(Number(pid), space)
}

/** The second lock, under which the first is broken. */
const breakingOf = (path: string): string => `${path}.breaking`

/** Guards the removal: the holder is read again under a second lock, so a fresh lock is never removed. */
async function breakLock (path: string, token: string, access: Access): Promise<void> {
  const breaking = breakingOf(path)
  if (!await create(breaking, token, access)) {
    const made = (await lstat(breaking).catch(() => null))?.mtimeMs
    if (made !== undefined && Math.abs(Date.now() - made) > STALE_AFTER) await remove(breaking)
    return
  }
  if (await holder(path) === token) await remove(path)
  await remove(breaking)
}
