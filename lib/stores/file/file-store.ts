import { watch, type FSWatcher } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import type { MaintenanceStore, WriteOptions } from '../../../types/index.ts'
import { isObject } from '../../util/validate.ts'
import { codeOf, ConflictError, messageOf, show, UnreadableError } from '../../errors.ts'
import { accessLike, createFile, realTarget, replaceFile, sweep, type Access } from './atomic-write.ts'
import { takeLock } from './lock.ts'
import { mountDirectory } from './mount.ts'
import { readRegular } from './read-regular-file.ts'
import { isRevision } from '../../util/revision.ts'

/** Larger files are not ours: neither read nor replaced. */
const SIZE_MAX = 1024 * 1024

/** One document for all sites. */
interface Document {
  v: 1
  sites: Record<string, unknown>
}

interface Entry { revision: number, record: string }

/** The link that Kubernetes swaps to change all files of a ConfigMap at once. */
const CONFIG_MAP_LINK = '..data'

/**
 * State in one file, for all processes that share its directory. Written as a whole (temporary file,
 * fsync, rename), so that a reader sees the old state or the new one, whenever a writer dies.
 * @param file relative to the working directory; symbolic links are followed
 * @param suffix of a file beside the one that `file` leads to, which is used in place of it
 */
export function createFileStore (file: string, suffix = ''): MaintenanceStore {
  const path = resolve(file)
  const watchers = new Set<FSWatcher>()
  let closed = false
  let next: Promise<Buffer | null> | null = null

  const locate = async (): Promise<string> => suffix === '' ? path : `${await realTarget(path)}${suffix}`

  /** Many sites are read at once: they share one look into the file, unless it has begun before they asked. */
  function readShared (): Promise<Buffer | null> {
    next ??= Promise.resolve().then(async () => {
      next = null
      return readBytes(await locate())
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

  async function readAll (): Promise<Map<string, string>> {
    const bytes = await readShared()
    const sites = bytes === null ? {} : parse(bytes).sites
    return new Map(Object.entries(sites).flatMap(([site, entry]) => isEntry(entry) ? [[site, entry.record]] : []))
  }

  async function write (site: string, record: string, condition: WriteOptions): Promise<void> {
    const target = await realTarget(await locate())
    const access = await accessLike(target, await realTarget(path))
    try {
      const lock = await takeLock(`${target}.lock`, access)
      try {
        const text = withRecord(await readForWriting(target, access), site, record, condition)
        await sweep(target)
        await replaceFile(target, text, { access, durable: true, beforeRename: lock.check })
      } finally {
        await lock.release()
      }
    } catch (error) {
      throw explain(error, target)
    }
  }

  /** Only speeds things up: where the system cannot watch, the synchroniser's poll finds the change. */
  async function watchDirectories (onHint: () => void): Promise<void> {
    const target = await realTarget(path).catch(() => path)
    for (const directory of new Set([path, target].map(place => dirname(place)))) {
      if (closed) return
      try {
        const watcher = watch(directory, { persistent: false }, (_event, name) => {
          if (name === null || [basename(path), basename(target), CONFIG_MAP_LINK].includes(name)) onHint()
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

  return { read, write, readAll, watch: watchDirectories, close }
}

/** @throws FST_ERR_MAINTENANCE_CONFLICT */
function withRecord (
  document: Document,
  site: string,
  record: string,
  { revision, expectedRevision }: WriteOptions
): string {
  const entry = entryOf(document, site)
  const stored = isEntry(entry) ? entry.revision : 0
  if (expectedRevision !== undefined && expectedRevision !== stored) throw new ConflictError(stored, expectedRevision)
  document.sites[site] = { revision, record }
  const text = JSON.stringify(document)
  if (Buffer.byteLength(text) > SIZE_MAX) {
    throw new Error(`the state of all sites would be larger than ${SIZE_MAX} bytes`)
  }
  return text
}

/** What the codes of the system don't say. */
function explain (error: unknown, target: string): unknown {
  switch (codeOf(error)) {
    case 'EROFS': case 'EACCES': case 'EPERM':
      return new Error(`this process may not write to the directory ${dirname(target)}: ${messageOf(error)}`, {
        cause: error
      })
    case 'ERR_ACCESS_DENIED':
      return new Error(
        `Node's permission model forbids writing to ${dirname(target)}, start it with --allow-fs-write=${dirname(target)}/`,
        { cause: error }
      )
    case 'EBUSY':
      return new Error(`${mountDirectory(target)}: ${messageOf(error)}`, { cause: error })
    default: return error
  }
}

/**
 * @returns `null` where there is a directory, but no file in it
 * @throws FST_ERR_MAINTENANCE_UNREADABLE where there is something that cannot be read
 */
async function readBytes (path: string): Promise<Buffer | null> {
  try {
    return await readRegular(path, SIZE_MAX)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') {
      throw new UnreadableError(`the state file ${path} cannot be read: ${messageOf(error)}`)
    }
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
  if (!isDocument(value)) {
    throw new UnreadableError(`the state file holds ${show(value)}, expected { v: 1, sites: { … } }`)
  }
  return value
}

const isDocument = (value: unknown): value is Document => isObject(value) && value.v === 1 && isObject(value.sites)

const isEntry = (entry: unknown): entry is Entry =>
  isObject(entry) && isRevision(entry.revision) && typeof entry.record === 'string'

const entryOf = ({ sites }: Document, site: string): unknown => Object.hasOwn(sites, site) ? sites[site] : undefined

/**
 * What cannot be understood counts as empty, and is replaced: that is how an operator repairs it.
 * A copy is kept, in case the path was a slip and the file something else.
 */
async function readForWriting (target: string, access: Access): Promise<Document> {
  const bytes = await readBytes(target)
  if (bytes === null) return { v: 1, sites: {} }
  try {
    return parse(bytes)
  } catch {
    // the first copy stays
    await createFile(`${target}.unreadable`, bytes, access).catch(() => {})
    return { v: 1, sites: {} }
  }
}
