import { randomUUID } from 'node:crypto'
import { constants, watch, type FSWatcher, type Stats } from 'node:fs'
import { copyFile, open, readdir, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { MaintenanceStore, WriteCondition } from '../../types/index.ts'
import { isObject } from '../check.ts'
import { codeOf, ConflictError, messageOf, show, UnreadableError } from '../errors.ts'
import { takeLock } from './lock.ts'

/** Larger files are none of ours: neither read nor replaced. */
const SIZE_MAX = 1024 * 1024

/** One document for all sites. */
interface Document {
  v: 1
  sites: Record<string, unknown>
}

interface Entry { revision: number, record: string }

/**
 * State in one file, for all processes that share its directory. Written as a whole (temporary file,
 * fsync, rename), so that a reader sees the old state or the new one, whenever a writer dies.
 * @param file relative to the working directory; symbolic links are followed
 */
export function createFileStore (file: string): MaintenanceStore {
  const path = resolve(file)
  let reading: Promise<Buffer | null> | null = null
  let watchers: FSWatcher[] = []

  /** Many sites are read at once: they share one look into the file. */
  function readShared (): Promise<Buffer | null> {
    reading ??= readBytes(path).finally(() => { reading = null })
    return reading
  }

  async function read (site: string): Promise<string | null> {
    const bytes = await readShared()
    const entry = bytes === null ? null : entryOf(parse(bytes), site)
    if (entry === null || isEntry(entry)) return entry?.record ?? null
    throw new UnreadableError(`the state file holds ${show(entry)} for site '${site}', expected { revision, record }`)
  }

  async function write (site: string, record: string, { revision, expected }: WriteCondition): Promise<void> {
    const target = await realTarget(path)
    const lock = await takeLock(`${target}.lock`)
    try {
      const document = await readForWriting(target)
      const entry = entryOf(document, site)
      const stored = isEntry(entry) ? entry.revision : 0
      if (expected !== undefined && expected !== stored) throw new ConflictError(stored, expected)
      document.sites[site] = { revision, record }
      await replace(target, JSON.stringify(document), lock.check)
    } finally {
      await lock.release()
    }
  }

  /** Only speeds things up: where the system cannot watch, the synchroniser's poll finds the change. */
  async function watchDirectories (onHint: () => void): Promise<void> {
    const target = await realTarget(path).catch(() => path)
    for (const place of new Set([path, target])) {
      try {
        const watcher = watch(dirname(place), { persistent: false }, (_event, name) => {
          if (name === null || name === basename(place)) onHint()
        })
        watcher.on('error', () => watcher.close())
        watchers.push(watcher)
      } catch {}
    }
  }

  function close (): void {
    for (const watcher of watchers) watcher.close()
    watchers = []
  }

  return { read, write, watch: watchDirectories, close }
}

/** Where links lead to, so that a rename replaces the file and not the link. */
async function realTarget (path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    return join(await realpath(dirname(path)), basename(path))
  }
}

/**
 * @returns `null` where there is a directory, but no file in it
 * @throws FST_ERR_MAINTENANCE_UNREADABLE where there is something that cannot be read
 */
async function readBytes (path: string): Promise<Buffer | null> {
  let file: FileHandle | undefined
  try {
    // without O_NONBLOCK, opening a FIFO waits for its writer
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stats = await file.stat()
    if (!stats.isFile()) throw new Error('it is no regular file')
    if (stats.size > SIZE_MAX) throw new Error(`it has ${stats.size} bytes, more than ${SIZE_MAX}`)
    return await file.readFile()
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw new UnreadableError(`the state file ${path} cannot be read: ${messageOf(error)}`)
    await stat(dirname(path))
    return null
  } finally {
    await file?.close()
  }
}

function parse (bytes: Buffer): Document {
  if (bytes.length === 0) throw new UnreadableError('the state file is empty')
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new UnreadableError(`the state file is no JSON in UTF-8: ${messageOf(error)}`)
  }
  if (!isDocument(value)) throw new UnreadableError(`the state file holds ${show(value)}, expected { v: 1, sites: { … } }`)
  return value
}

const isDocument = (value: unknown): value is Document => isObject(value) && value.v === 1 && isObject(value.sites)

const isEntry = (entry: unknown): entry is Entry =>
  isObject(entry) && Number.isSafeInteger(entry.revision) && typeof entry.record === 'string'

const entryOf = ({ sites }: Document, site: string): unknown => Object.hasOwn(sites, site) ? sites[site] : null

/**
 * What cannot be understood counts as empty, and is replaced: that is how an operator repairs it.
 * A copy is kept, in case that the path was a slip and the file something else.
 */
async function readForWriting (target: string): Promise<Document> {
  const bytes = await readBytes(target)
  try {
    if (bytes !== null) return parse(bytes)
  } catch {
    await copyFile(target, `${target}.unreadable`, constants.COPYFILE_EXCL).catch(() => {})
  }
  return { v: 1, sites: {} }
}

/**
 * Temporary file, fsync, rename, fsync of the directory: atomic, and on the disk when it returns.
 * @param beforeRename throws where the file must not be replaced any more
 */
async function replace (target: string, text: string, beforeRename: () => Promise<void>): Promise<void> {
  if (Buffer.byteLength(text) > SIZE_MAX) throw new Error(`the state of all sites is larger than ${SIZE_MAX} bytes`)
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

/** With the mode and the owner of the file that it will replace, so that whoever read it can read on. */
async function writeSynced (path: string, text: string, like: Stats | null): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.writeFile(text)
    if (like !== null) {
      await file.chmod(like.mode & 0o7777)
      // only root can give a file away; for anybody else the owner is as it must be, or cannot be helped
      await file.chown(like.uid, like.gid).catch(() => {})
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

/** Removes what killed writers left behind; whoever holds the lock is the only one writing. */
async function sweep (target: string): Promise<void> {
  const left = (await readdir(dirname(target))).filter(name => name.startsWith(`${basename(target)}.`) && name.endsWith('.tmp'))
  await Promise.all(left.map(name => rm(join(dirname(target), name), { force: true })))
}
