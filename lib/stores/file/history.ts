import type { MaintenanceStore } from '../../../types/index.ts'
import { isConflict } from '../../errors.ts'

type History = Required<Pick<MaintenanceStore, 'append' | 'list'>>

/** A site's part of the history file. */
interface Page {
  /** Goes up by one with each entry, so that writers who come together lose none. */
  readonly count: number
  /** Newest first. */
  readonly entries: string[]
}

const ENTRIES_MAX = 100
/** A file holds many sites: the oldest entries of one that writes long messages go first. */
const LENGTH_MAX = 50_000

/**
 * The history of all sites in a file beside the state, kept the same way as the state itself.
 * @param pages a store of its own
 */
export function createFileHistory (pages: MaintenanceStore): History {
  async function read (site: string): Promise<Page> {
    const text = await pages.read(site)
    return text === null ? { count: 0, entries: [] } : JSON.parse(text) as Page
  }

  async function append (site: string, entry: string): Promise<void> {
    const { count, entries } = await read(site)
    const page = { count: count + 1, entries: fitting([entry, ...entries]) }
    try {
      await pages.write(site, JSON.stringify(page), { revision: page.count, expected: count })
    } catch (error) {
      if (!isConflict(error)) throw error
      await append(site, entry)
    }
  }

  return { append, list: async (site, limit) => (await read(site)).entries.slice(0, limit) }
}

/** As many of the newest as there is room for, and the newest in any case. */
function fitting (entries: string[]): string[] {
  let length = 0
  return entries.slice(0, ENTRIES_MAX).filter((entry, i) => {
    length += entry.length
    return i === 0 || length <= LENGTH_MAX
  })
}
