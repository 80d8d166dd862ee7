import { constants, watch, type FSWatcher } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import type { MaintenanceStore, WriteCondition } from '../../../types/index.ts'
import { isObject } from '../../util/validate.ts'
import { codeOf, ConflictError, messageOf, show, UnreadableError } from '../../errors.ts'
import { realTarget, replaceFile } from './atomic-write.ts'
import { takeLock } from './lock.ts'
import { readRegular } from './read-regular-file.ts'
import { isRevision } from '../../util/revision.ts'

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
  const watchers = new Set<FSWatcher>()
  let closed = false
  let next: Promise<Buffer | null> | null = null

  /** Many sites are read at once: they share one look into the file, unless it has begun before they asked. */
  function readShared (): Promise<Buffer | null> {
    next ??= Promise.resolve().then(() => {
      next = null
      return readBytes(path)
    })
    return next
  }

  async function read (site: string): Promise<string | null> {
    const bytes = await readShared()
    const entry = bytes === null ? undefined : entryOf(parse(bytes), site)
    if (entry === undefined) return null
    if (isEntry(entry)) return entry.record
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
      const text = JSON.stringify(document)
      if (Buffer.byteLength(text) > SIZE_MAX) throw new Error(`the state of all sites would be larger than ${SIZE_MAX} bytes`)
      await replaceFile(target, text, lock.check)
    } finally {
      await lock.release()
    }
  }

  /** Only speeds things up: where the system cannot watch, the synchroniser's poll finds the change. */
  async function watchDirectories (onHint: () => void): Promise<void> {
    const target = await realTarget(path).catch(() => path)
    for (const directory of new Set([path, target].map(place => dirname(place)))) {
      if (closed) return
      try {
        const watcher = watch(directory, { persistent: false }, (_event, name) => {
          if (name === null || name === basename(path) || name === basename(target)) onHint()
        })
        watcher.on('error', () => watcher.close())
        watchers.add(watcher)
      } catch {}
    }
  }

  function close (): void {
    closed = true
    for (const watcher of watchers) watcher.close()
  }

  return { read, write, watch: watchDirectories, close }
}

/**
 * @returns `null` where there is a directory, but no file in it
 * @throws FST_ERR_MAINTENANCE_UNREADABLE where there is something that cannot be read
 */
async function readBytes (path: string): Promise<Buffer | null> {
  try {
    return await readRegular(path, SIZE_MAX)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw new UnreadableError(`the state file ${path} cannot be read: ${messageOf(error)}`)
  }
  await realTarget(path)
  return null
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
  isObject(entry) && isRevision(entry.revision) && typeof entry.record === 'string'

const entryOf = ({ sites }: Document, site: string): unknown => Object.hasOwn(sites, site) ? sites[site] : undefined

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
