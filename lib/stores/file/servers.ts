import { chmod, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { MaintenanceStore } from '../../../types/index.ts'
import { isObject } from '../../util/validate.ts'
import { codeOf } from '../../errors.ts'
import { realTarget } from './atomic-write.ts'
import { isDead, SPACE } from './process-liveness.ts'
import { readRegular } from './read-regular-file.ts'

type Servers = Required<Pick<MaintenanceStore, 'beat' | 'beats'>>

/** What stands in the file of one server. */
interface Beat {
  /** ms since 1970. */
  readonly until: number
  readonly pid: number
  readonly space: string
  readonly entry: string
}

/** Larger ones are none of ours. */
const SIZE_MAX = 1024 * 1024

/**
 * Servers of one directory, a file each: nobody waits for anybody, and the dead of this machine are known at once.
 * @param file of the state, beside which the directory stands; symbolic links are followed
 */
export function createFileServers (file: string): Servers {
  const state = resolve(file)
  let swept = false

  const findDirectory = async (): Promise<string> => `${await realTarget(state)}.servers`

  async function beat (site: string, id: string, entry: string, ttl: number): Promise<void> {
    const directory = await findDirectory()
    // no name of a site holds an '@'
    const path = join(directory, `${site}@${id}.json`)
    if (ttl === 0) return rm(path, { force: true })
    await makeDirectory(directory)
    const beat: Beat = { until: Date.now() + ttl, pid: process.pid, space: SPACE, entry }
    await writeFile(`${path}.tmp`, JSON.stringify(beat))
    await rename(`${path}.tmp`, path)
    if (!swept) readAll(directory).catch(() => {})
    swept = true
  }

  async function beats (site: string): Promise<string[]> {
    return readAll(await findDirectory(), `${site}@`)
  }

  return { beat, beats }
}

/** Open to whoever may change the state: with the mode of the directory around it. */
async function makeDirectory (path: string): Promise<void> {
  try {
    await mkdir(path)
    await chmod(path, (await stat(dirname(path))).mode & 0o7777)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
}

/** One after the other: a server that cannot be read because too many files are open would be one that nobody waits for. */
async function readAll (directory: string, prefix = ''): Promise<string[]> {
  const names = await readdir(directory).catch(error => {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  })
  const entries: string[] = []
  for (const name of names.filter(name => name.startsWith(prefix) && name.endsWith('.json'))) {
    const entry = await readBeat(join(directory, name))
    if (entry !== null) entries.push(entry)
  }
  return entries
}

/**
 * @returns `null` for what is none, and for the dead, whose file goes
 * @throws for what may be a server that we are not allowed to see
 */
async function readBeat (path: string): Promise<string | null> {
  const beat = await readRegular(path, SIZE_MAX).then(bytes => JSON.parse(bytes.toString()) as unknown).catch(error => {
    if (codeOf(error) === undefined || codeOf(error) === 'ENOENT') return null
    throw error
  })
  if (!isBeat(beat)) return null
  if (beat.until > Date.now() && !isDead(beat.pid, beat.space)) return beat.entry
  await rm(path, { force: true }).catch(() => {})
  return null
}

const isBeat = (value: unknown): value is Beat =>
  isObject(value) && typeof value.until === 'number' && typeof value.pid === 'number' && typeof value.space === 'string' && typeof value.entry === 'string'
