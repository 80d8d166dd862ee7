import { constants } from 'node:fs'
import { access, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { MaintenanceStore } from '../../../types/index.ts'
import { isObject } from '../../util/validate.ts'
import { codeOf } from '../../errors.ts'
import { accessLike, realTarget, replaceFile, setAccess, sweepOlder } from './atomic-write.ts'
import { readRegular } from './read-regular-file.ts'

type Servers = Required<Pick<MaintenanceStore, 'heartbeat' | 'heartbeats'>>

/** The file of one server. */
interface Heartbeat {
  /** ms since 1970. */
  readonly until: number
  readonly entry: string
}

/** Larger files are not ours. */
const SIZE_MAX = 1024 * 1024
/** A temporary file older than this (ms) has no writer any more. */
const TEMPORARY_MAX = 10_000

/**
 * The servers of one directory, a file each: nobody waits for anybody.
 * @param file of the state, beside which the directory stands; symbolic links are followed
 */
export function createFileServers (file: string): Servers {
  const state = resolve(file)
  let swept = false

  async function heartbeat (server: string, entry: string, ttl: number): Promise<boolean> {
    const target = await realTarget(state)
    const directory = directoryOf(target)
    const path = join(directory, server)
    if (ttl === 0) return rm(path, { force: true }).then(() => false)
    await makeDirectory(directory)
    const isNew = await access(path).then(() => false, () => true)
    const file: Heartbeat = { until: Date.now() + ttl, entry }
    await replaceFile(path, JSON.stringify(file), { access: await accessLike(target), durable: false })
    sweep(directory, path).catch(() => {})
    return isNew
  }

  /**
   * Once, what killed servers left; their temporary files each time, because a server restarts before they are old
   * enough.
   */
  async function sweep (directory: string, own: string): Promise<void> {
    if (!swept) await readAll(directory)
    swept = true
    await sweepOlder(directory, (await stat(own)).mtimeMs, TEMPORARY_MAX)
  }

  async function heartbeats (): Promise<string[]> {
    return readAll(directoryOf(await realTarget(state)))
  }

  return { heartbeat, heartbeats }
}

/**
 * File watchers would restart the server at every heartbeat: hidden, and named as an editor's swap file, the directory
 * is ignored by nodemon, `tsx watch` and pm2 (hidden), and by `fastify start --watch` (.swp). Servers on other hosts
 * see it.
 */
const directoryOf = (target: string): string => join(dirname(target), `.${basename(target)}.servers.swp`)

/** Open to everybody who may change the state: with the mode and the owner of the directory around it. */
async function makeDirectory (path: string): Promise<void> {
  const isNew = await mkdir(path).then(() => true, error => {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  })
  // ENOTDIR for a link, which may lead anywhere
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    if (!isNew) return
    const { mode, uid, gid } = await stat(dirname(path))
    await setAccess(directory, path, { mode: mode & 0o7777, uid, gid })
  } finally {
    await directory.close()
  }
}

/** One after the other: a server whose file cannot be read because too many files are open would be overlooked. */
async function readAll (directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(error => {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  })
  const entries: string[] = []
  for (const name of names.filter(name => !name.startsWith('.'))) {
    const entry = await readHeartbeat(join(directory, name))
    if (entry !== null) entries.push(entry)
  }
  return entries
}

/** Of what is gone meanwhile, or is no regular file: a link, a socket, a device. */
const NO_HEARTBEAT: readonly unknown[] = [undefined, 'ENOENT', 'ELOOP', 'ENXIO', 'ENODEV']

/**
 * @returns `null` for what is not ours, and for what has expired, whose file is removed
 * @throws for what may be a server that we are not allowed to see
 */
async function readHeartbeat (path: string): Promise<string | null> {
  const heartbeat = await readRegular(path, SIZE_MAX, constants.O_NOFOLLOW)
    .then(bytes => JSON.parse(bytes.toString()) as unknown)
    .catch(error => {
      if (NO_HEARTBEAT.includes(codeOf(error))) return null
      throw error
    })
  if (!isHeartbeat(heartbeat)) return null
  if (heartbeat.until > Date.now()) return heartbeat.entry
  await rm(path, { force: true }).catch(() => {})
  return null
}

const isHeartbeat = (value: unknown): value is Heartbeat =>
  isObject(value) && typeof value.until === 'number' && typeof value.entry === 'string'
