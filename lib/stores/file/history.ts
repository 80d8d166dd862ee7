import type { MaintenanceStore } from '../../../types/index.ts'
import { isConflict, isUnreadable } from '../../errors.ts'
import { isObject } from '../../util/validate.ts'

type History = Required<Pick<MaintenanceStore, 'appendHistory' | 'listHistory'>>

/** A site's part of the history file. */
interface Page {
  /** Goes up by one with each entry, so that writers who come together lose none. */
  readonly count: number
  /** Newest first. */
  readonly entries: string[]
}

const EMPTY: Page = { count: 0, entries: [] }
const ENTRIES_MAX = 100
/** A file holds many sites: the oldest entries of one that writes long messages go first. */
const LENGTH_MAX = 50_000

/**
 * The history of all sites in a file beside the state, kept the same way as the state itself.
 * @param pages a store of its own
 */
export function createFileHistory (pages: MaintenanceStore): History {
  const read = async (site: string): Promise<Page> => parsePage(await pages.read(site))

  /** @param before the count at the last try, which met a conflict */
  async function append (site: string, entry: string, before?: number): Promise<void> {
    const { count, entries } = await read(site).catch(startOver)
    const page = { count: count + 1, entries: fitting([entry, ...entries]) }
    // a conflict, and yet the same count: no other writer was there, the file was edited by hand
    const condition = count === before ? { revision: page.count } : { revision: page.count, expectedRevision: count }
    try {
      await pages.write(site, JSON.stringify(page), condition)
    } catch (error) {
      if (!isConflict(error)) throw error
      await append(site, entry, count)
    }
  }

  return {
    appendHistory: (site, entry) => append(site, entry),
    listHistory: async (site, limit) => (await read(site)).entries.slice(0, limit)
  }
}

/** Garbage in the file must not end the history: the next entry replaces it. */
function startOver (error: unknown): Page {
  if (!isUnreadable(error)) throw error
  return EMPTY
}

/** A history that cannot be read starts empty: it decides nothing. */
function parsePage (text: string | null): Page {
  try {
    const page: unknown = JSON.parse(text ?? 'null')
    return isPage(page) ? page : EMPTY
  } catch {
    return EMPTY
  }
}

const isPage = (value: unknown): value is Page => isObject(value) && Number.isSafeInteger(value.count) &&
  Array.isArray(value.entries) && value.entries.every(entry => typeof entry === 'string')

/** As many of the newest as there is room for, and the newest in any case. */
function fitting (entries: string[]): string[] {
  let length = 0
  return entries.slice(0, ENTRIES_MAX).filter((entry, i) => {
    length += entry.length
    return i === 0 || length <= LENGTH_MAX
  })
}
