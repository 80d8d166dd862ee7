import { randomUUID } from 'node:crypto'
import { constants, statSync } from 'node:fs'
import { open, readFile, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf } from '../../errors.ts'
import { isDead, SPACE } from './process-liveness.ts'

/** A lock whose holder lives elsewhere, or hangs, is broken when it was seen unchanged for so long, ms. */
const STALE_AFTER = 1400
/** How long to wait for it, ms: longer than a stale one lives, shorter than `set` may take. */
const WAIT_MAX = 1650

export interface Lock {
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
  const token = `${process.pid} ${SPACE} ${randomUUID()}`
  const began = performance.now()
  let seen = { token: '', since: began }
  while (!await create(path, token)) {
    const now = performance.now()
    const other = await holder(path)
    // watched rather than asked for its date: the clock of a file server is another one
    if (other !== seen.token) seen = { token: other, since: now }
    if (isHolderDead(other) || now - seen.since > STALE_AFTER) await breakLock(path, other)
    if (now - began > WAIT_MAX) throw new Error(`other writers hold ${path}, now process and host ${other.slice(0, 200)}`)
    await sleep(2 + Math.random() * 10)
  }
  return {
    async check () {
      if (await holder(path) !== token) throw new Error(`the lock ${path} was lost: writing took longer than ${STALE_AFTER} ms`)
    },
    async release () {
      if (await holder(path) !== token) return
      await remove(breakingOf(path))
      await remove(path)
    }
  }
}

/** @returns false where there is one already */
async function create (path: string, token: string): Promise<boolean> {
  const file = await open(path, 'wx').catch(error => {
    if (codeOf(error) === 'EEXIST') return null
    throw error
  })
  if (file === null) return false
  try {
    await file.writeFile(token)
  } catch (error) {
    await remove(path)
    throw error
  } finally {
    await file.close()
  }
  return true
}

/** @returns `''` for none; without O_NONBLOCK, a FIFO of that name would be waited for */
const holder = (path: string): Promise<string> =>
  readFile(path, { encoding: 'utf8', flag: constants.O_RDONLY | constants.O_NONBLOCK }).catch(() => '')

/** A lock that cannot be removed becomes stale. */
const remove = (path: string): Promise<void> => rm(path, { force: true }).catch(() => {})

function isHolderDead (token: string): boolean {
  const [pid, space = ''] = token.split(' ')
  return isDead(Number(pid), space)
}

/** Whoever breaks the lock holds this one. */
const breakingOf = (path: string): string => `${path}.breaking`

/** Only one breaks at a time, and looks again before: none takes the next writer's lock for the stale one. */
async function breakLock (path: string, token: string): Promise<void> {
  const breaking = breakingOf(path)
  if (!await create(breaking, token)) {
    const made = statSync(breaking, { throwIfNoEntry: false })?.mtimeMs
    if (made !== undefined && Math.abs(Date.now() - made) > STALE_AFTER) await remove(breaking)
    return
  }
  if (await holder(path) === token) await remove(path)
  await remove(breaking)
}
