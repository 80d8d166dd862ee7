import type { HistoryEntry, MaintenanceStore } from '../../types/index.ts'
import { readList } from './read-list.ts'
import { modeOf, parseRecord, type ChangeNote, type StateRecord } from './record.ts'

/** How many changes are kept, and returned at most. */
export const HISTORY_MAX = 100

export interface History {
  /** Without a store that keeps a history, the changes that this process has seen stand in for it. */
  remember (record: StateRecord): void
  /** Newest first. @throws FST_ERR_MAINTENANCE_STORE */
  read (limit: number): Promise<HistoryEntry[]>
}

export function createHistory (store: MaintenanceStore, site: string): History {
  const seen: StateRecord[] = []
  return {
    remember (record) {
      seen.unshift(record)
      seen.length = Math.min(seen.length, HISTORY_MAX)
    },
    async read (limit) {
      const records =
        store.listHistory === undefined ? seen : readEntries(await readList(store.listHistory(site, limit)))
      return records.slice(0, limit).map(toEntry)
    }
  }
}

/** Entries that cannot be read are left out: a history decides nothing. */
function readEntries (entries: readonly string[]): StateRecord[] {
  return entries.slice(0, HISTORY_MAX).flatMap(entry => {
    try {
      return [parseRecord(entry)]
    } catch {
      return []
    }
  })
}

function toEntry (record: StateRecord): HistoryEntry {
  const { revision, by, at, change = guess(record) } = record
  const { kind, window, mode, message = null, startsAt = null, endsAt = null, ended = false } = change
  return {
    revision,
    kind,
    window,
    ended,
    mode: mode === undefined ? null : modeOf({ mode }),
    message,
    startsAt,
    endsAt,
    by,
    at: at as string
  }
}

/** For records of other versions, which may not say what they changed. */
const guess = ({ windows }: StateRecord): ChangeNote => ({
  kind: windows.length > 0 ? 'closed' : 'opened',
  window: null
})
