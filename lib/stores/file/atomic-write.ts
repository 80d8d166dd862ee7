import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import { open, readdir, readlink, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { codeOf } from '../../errors.ts'

/**
 * Where symbolic links lead to, also where nothing is there yet: a rename replaces the file, not the link.
 * @throws ENOENT where there is no directory either
 */
export async function realTarget (path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    const link = await readlink(path).catch(() => null)
    return link === null ? join(await realpath(dirname(path)), basename(path)) : realTarget(resolve(dirname(path), link))
  }
}

/**
 * Temporary file, fsync, rename, fsync of the directory: readers see the old file or the new one, whenever
 * the writer dies, and the new one is on the disk when it returns. Only one writer at a time.
 * @param beforeRename throws where the file must not be replaced any more
 */
export async function replaceFile (target: string, text: string, beforeRename: () => Promise<void>): Promise<void> {
  await sweep(target)
  const temporary = `${target}.${randomUUID()}.tmp`
  try {
    await writeSynced(temporary, text, await stat(target).catch(() => null))
    await beforeRename()
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncDirectory(dirname(target))
}

/** With the mode and the owner of the file that it will replace, so that whoever read it can read on, and nobody else. */
async function writeSynced (path: string, text: string, like: Stats | null): Promise<void> {
  const file = await open(path, 'wx', like === null ? 0o666 : 0o600)
  try {
    await file.writeFile(text)
    if (like !== null) {
      // only root can give a file away, a user only to a group of his; else it is as it must be, or cannot be helped
      await file.chown(like.uid, like.gid).catch(() => file.chown(-1, like.gid)).catch(() => {})
      await file.chmod(like.mode & 0o777)
    }
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Not every system can; the new state stands already, so a failure is none of the write. */
async function syncDirectory (path: string): Promise<void> {
  const directory = await open(path, 'r').catch(() => null)
  await directory?.sync().catch(() => {})
  await directory?.close()
}

/** What follows the target's name in a temporary file's. */
const TEMPORARY = /^\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp$/

/** Removes what killed writers left behind, and nothing of a neighbour whose name begins alike. */
async function sweep (target: string): Promise<void> {
  const name = basename(target)
  const names = await readdir(dirname(target)).catch(() => [])
  const left = names.filter(other => other.startsWith(name) && TEMPORARY.test(other.slice(name.length)))
  await Promise.all(left.map(other => rm(join(dirname(target), other), { force: true })))
}
