import type { HistoryEntry, MaintenanceStore } from '../../types/index.ts'
import { readList } from '../util/read-list.ts'
import { parseRecord, type StateRecord } from './record.ts'

/** How many transitions are kept, and given at most. */
export const HISTORY_MAX = 100

export interface History {
  /** What this process has seen stands in where the store keeps no history. */
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
      const records = store.list === undefined ? seen : readEntries(await readList(store.list(site, limit)))
      return records.slice(0, limit).map(toEntry)
    }
  }
}

/** What cannot be understood in a history is passed over: it decides nothing. */
function readEntries (entries: readonly string[]): StateRecord[] {
  return entries.slice(0, HISTORY_MAX).flatMap(entry => {
    try { return [parseRecord(entry)] } catch { return [] }
  })
}

function toEntry ({ revision, on, mode, message, startsAt, endsAt, by, at }: StateRecord): HistoryEntry {
  return { revision, on, mode, message, startsAt, endsAt, by, at: at as string }
}
