import { messageOf, show, StoreError } from '../errors.ts'
import { withTimeout } from '../util/timeout.ts'

/** ms */
const LIST_TIMEOUT = 3000
/** To read more would hold up the process; to leave some out could hide a server that still runs. */
const ENTRIES_MAX = 25_000

/**
 * A list that a store gives.
 * @throws FST_ERR_MAINTENANCE_STORE
 */
export async function readList (list: Promise<unknown>): Promise<string[]> {
  try {
    const entries = await withTimeout(list, LIST_TIMEOUT)
    if (!Array.isArray(entries)) throw new TypeError(`it returned ${show(entries)}, expected a list`)
    if (entries.length > ENTRIES_MAX) {
      throw new RangeError(`it returned ${entries.length} entries, at most ${ENTRIES_MAX} are read`)
    }
    return entries
  } catch (error) {
    throw new StoreError(messageOf(error), { cause: error })
  }
}
