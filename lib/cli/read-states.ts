import type { MaintenanceStore, SiteState } from '../../types/index.ts'
import { describe, NEVER_WRITTEN, type StateRecord } from '../state/record.ts'
import { createSchedule } from '../state/schedule.ts'
import { readStored } from '../state/write.ts'
import { isActive, upcomingOf } from '../state/window.ts'

/** Recurring windows are options of the servers: the store knows none. */
const NO_SCHEDULE = createSchedule([])

export function toState (site: string, record: StateRecord): SiteState {
  const now = Date.now()
  return describe(site, record, isActive(record, now), upcomingOf(record, NO_SCHEDULE, now))
}

/** @param strict what cannot be understood is an error; else it counts as never written, and is about to be repaired */
export function readStates (store: MaintenanceStore, sites: readonly string[], strict = true): Promise<SiteState[]> {
  return Promise.all(sites.map(async site => {
    const stored = await readStored(store, site)
    if (stored.kind === 'unreadable' && strict) throw new Error(`the state of site '${site}' cannot be understood: ${stored.reason}`)
    return toState(site, stored.kind === 'record' ? stored.record : NEVER_WRITTEN)
  }))
}
