import { randomUUID } from 'node:crypto'
import { fsync } from 'node:fs'
import { chmod, open, readdir, readlink, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { codeOf } from '../../errors.ts'

/** Who may use a file. */
export interface Access {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

export interface Replacement {
  readonly access: Access
  /** If true, the new content is on the disk once it is written. */
  readonly durable: boolean
  /** Throws if the file must not be replaced any more. */
  readonly beforeRename?: () => Promise<void>
}

const NEW_FILE = 0o600

/**
 * Where symbolic links lead, even if nothing is there yet: a rename must replace the file, not the link.
 * @throws ENOENT if there is no directory either
 */
export async function realTarget (path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    const link = await readlink(path).catch(() => null)
    return link === null
      ? join(await realpath(dirname(path)), basename(path))
      : realTarget(resolve(dirname(path), link))
  }
}

/**
 * The access of the first of these files that exists, so that everybody who could read it can read what replaces it or
 * lies beside it, and nobody else. Without any: for the owner of the directory alone.
 */
export async function accessLike (...paths: readonly [string, ...string[]]): Promise<Access> {
  for (const path of paths) {
    const existing = await stat(path).catch(() => null)
    if (existing !== null) return { mode: existing.mode & 0o777, uid: existing.uid, gid: existing.gid }
  }
  const { uid, gid } = await stat(dirname(paths[0]))
  return { mode: NEW_FILE, uid, gid }
}

/**
 * Temporary file, rename: readers see the old content or the new one, whenever the writer dies. Nothing else that has
 * the name of either is followed: the temporary file is a new one, and a rename replaces what is there.
 */
export async function replaceFile (
  target: string,
  text: string,
  { access, durable, beforeRename }: Replacement
): Promise<void> {
  const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}.tmp`)
  await createFile(temporary, text, access, durable)
  try {
    await beforeRename?.()
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  if (durable) await syncDirectory(dirname(target))
}

/**
 * Creates a file, or leaves none behind.
 * @throws EEXIST if anything has that name, a link to nowhere too
 */
export async function createFile (
  path: string,
  content: string | Buffer,
  access: Access,
  durable = false
): Promise<void> {
  const file = await open(path, 'wx', NEW_FILE)
  try {
    await file.writeFile(content)
    await setAccess(file, path, access)
    if (durable) await sync(file)
  } catch (error) {
    await rm(path, { force: true }).catch(() => {})
    throw error
  } finally {
    await file.close()
  }
}

/** Best effort: only root can give a file away, and some file systems have no modes. */
export async function setAccess (file: FileHandle, path: string, { mode, uid, gid }: Access): Promise<void> {
  await file.chown(uid, gid).catch(() => file.chown(-1, gid)).catch(() => {})
  if (mode === NEW_FILE) return
  // Node's permission model knows no chmod of an open file
  await file
    .chmod(mode)
    .catch(error => (codeOf(error) === 'ERR_ACCESS_DENIED' ? chmod(path, mode) : undefined))
    .catch(() => {})
}

/**
 * Yarn's Plug'n'Play puts file handles in place whose `sync` throws; Node's permission model forbids everything else.
 */
async function sync (file: FileHandle): Promise<void> {
  await promisify(fsync)(file.fd).catch(error => {
    if (codeOf(error) !== 'ERR_ACCESS_DENIED') throw error
    return file.sync()
  })
}

/** Not every system can do this. The new content is in place by then, so a failure doesn't matter. */
async function syncDirectory (path: string): Promise<void> {
  const directory = await open(path, 'r').catch(() => null)
  if (directory !== null) await sync(directory).catch(() => {})
  await directory?.close()
}

const TEMPORARY = /^\.(.+)\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp$/

/** Removes the temporary files of killed writers of `target`. Only for writers that exclude each other. */
export async function sweep (target: string): Promise<void> {
  for (const { path, of } of await temporaryFiles(dirname(target))) {
    if (of === basename(target)) await rm(path, { force: true }).catch(() => {})
  }
}

/**
 * Removes temporary files that were last written more than `age` ms before `now`, which is a time of the file server's
 * clock.
 */
export async function sweepOlder (directory: string, now: number, age: number): Promise<void> {
  for (const { path } of await temporaryFiles(directory)) {
    /* c8 ignore next -- its writer renames it in this moment */
    const written = (await stat(path).catch(() => null))?.mtimeMs ?? now
    if (now - written > age) await rm(path, { force: true }).catch(() => {})
  }
}

async function temporaryFiles (directory: string): Promise<{ path: string, of: string }[]> {
  const names = await readdir(directory).catch(() => [])
  return names.flatMap(name => {
    const of = TEMPORARY.exec(name)?.[1]
    return of === undefined ? [] : [{ path: join(directory, name), of }]
  })
}
