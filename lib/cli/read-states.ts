import type { MaintenanceStore, SiteState } from '../../types/index.ts'
import { readStored, type Stored } from '../state/read.ts'
import { NEVER_WRITTEN, type StateRecord } from '../state/record.ts'
import { NO_SCHEDULE } from '../state/schedule.ts'
import { timeOf } from '../state/time.ts'
import { viewOf } from '../state/view.ts'
import { momentOf } from '../state/window.ts'
import { describeState } from '../status.ts'

/** Scheduled windows are options of the servers: the store does not know them. */
export function toState (site: string, record: StateRecord, now: number): SiteState {
  return describeState(site, viewOf({ record, source: 'store', assumed: false, schedule: NO_SCHEDULE, moment: momentOf(now) }))
}

/** @throws if what is stored for a site is unreadable */
export async function readState (store: MaintenanceStore, site: string): Promise<SiteState> {
  const stored = await readStored(store, site)
  if (stored.kind === 'unreadable') throw new Error(`the state of site '${site}' cannot be read: ${stored.reason}`)
  return toState(site, recordOf(stored), timeOf(store))
}

/** Unreadable state counts as never written: a command is about to repair it. */
export const recordOf = (stored: Stored): StateRecord => stored.kind === 'record' ? stored.record : NEVER_WRITTEN
