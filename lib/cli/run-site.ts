import type { MaintenanceStore } from '../../types/index.ts'
import { readStored } from '../state/read.ts'
import type { StateRecord } from '../state/record.ts'
import type { RunSite } from '../state/run.ts'
import { updateRecord } from '../state/write.ts'
import { toState } from './read-sites.ts'

/** A site of a store, for a process that is no server. */
export interface StoredSite extends RunSite {
  /** The revision of the first write: the one that closed the site. */
  readonly enteredAt: number
  /** Did the last write succeed? */
  readonly hasWritten: boolean
  /** Was the site closed after it? */
  readonly active: boolean
  /** Ends the reading. */
  stop (): void
}

/** How often the record is read, ms: the window of a run may be removed by somebody else. */
const READ_EVERY = 1000

export function openRunSite (store: MaintenanceStore, name: string): StoredSite {
  const ownRuns = new Set<string>()
  const listeners = new Set<(record: StateRecord) => void>()
  let enteredAt = 0
  let active = true
  let hasWritten = false

  async function read (): Promise<void> {
    const stored = await readStored(store, name)
    if (stored.kind === 'record' && stored.record.revision >= enteredAt) {
      for (const listener of listeners) listener(stored.record)
    }
  }

  // what cannot be read now is read a second later
  const timer = setInterval(() => { read().catch(() => {}) }, READ_EVERY)

  return {
    name,
    ownRuns,
    get enteredAt () { return enteredAt },
    get hasWritten () { return hasWritten },
    get active () { return active },
    async write (edit, options) {
      hasWritten = false
      const record = await updateRecord(store, name, { edit, ownRuns, expectedRevision: options?.expectedRevision })
      hasWritten = true
      active = toState(store, name, record).active
      enteredAt ||= record.revision
    },
    onRecord (listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    stop () { clearInterval(timer) }
  }
}
