import { chmod, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { MaintenanceStore } from '../../types/index.ts'
import { isObject } from '../check.ts'
import { codeOf } from '../errors.ts'
import { isDead, SPACE } from './process.ts'
import { readRegular } from './regular.ts'

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
const SIZE_MAX = 65_536

/** Servers of one directory, a file each: nobody waits for anybody, and the dead of this machine are known at once. */
export function createFileServers (directory: string): Servers {
  // no name of a site holds an '@'
  const pathOf = (site: string, id: string): string => join(directory, `${site}@${id}.json`)

  async function beat (site: string, id: string, entry: string, ttl: number): Promise<void> {
    const path = pathOf(site, id)
    if (ttl === 0) return rm(path, { force: true })
    await makeDirectory(directory)
    const beat: Beat = { until: Date.now() + ttl, pid: process.pid, space: SPACE, entry }
    await writeFile(`${path}.tmp`, JSON.stringify(beat))
    await rename(`${path}.tmp`, path)
  }

  async function beats (site: string): Promise<string[]> {
    const names = await readdir(directory).catch(error => {
      if (codeOf(error) === 'ENOENT') return []
      throw error
    })
    const own = names.filter(name => name.startsWith(`${site}@`) && name.endsWith('.json'))
    const found = await Promise.all(own.map(name => readBeat(join(directory, name))))
    return found.filter(entry => entry !== null)
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

/** @returns `null` for what is none, and for the dead, whose file goes */
async function readBeat (path: string): Promise<string | null> {
  const beat = await readRegular(path, SIZE_MAX).then(bytes => JSON.parse(bytes.toString()) as unknown).catch(() => null)
  if (!isBeat(beat)) return null
  if (beat.until > Date.now() && !isDead(beat.pid, beat.space)) return beat.entry
  await rm(path, { force: true }).catch(() => {})
  return null
}

const isBeat = (value: unknown): value is Beat =>
  isObject(value) && typeof value.until === 'number' && typeof value.pid === 'number' && typeof value.space === 'string' && typeof value.entry === 'string'
