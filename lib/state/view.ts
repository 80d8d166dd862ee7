import type { Source } from '../../types/index.ts'
import type { StateRecord, StoredWindow } from './record.ts'
import type { Schedule } from './schedule.ts'
import { activeWindows, assumedWindow, closedSince, settle, startOf, windowsAhead, type Moment } from './window.ts'

/** A site's state at one moment. */
export interface StateView {
  readonly record: StateRecord
  readonly source: Source
  /** The windows that close the site, the deciding one first. */
  readonly active: readonly StoredWindow[]
  /** The windows that are still to come, the next one first. */
  readonly ahead: readonly StoredWindow[]
  /** Since when the site has been closed without a gap, ms; `null`: it is open. */
  readonly closedSince: number | null
}

export interface ViewParts {
  readonly record: StateRecord
  readonly source: Source
  /** Does something that no record describes close the site? */
  readonly assumed: boolean
  readonly schedule: Schedule
  readonly moment: Moment
}

export function viewOf ({ record: known, source, assumed, schedule, moment }: ViewParts): StateView {
  const { now } = moment
  const record = settle(known, moment)
  const active = activeWindows(record, schedule, moment)
  const since = closedSince(record, schedule, moment)
  return {
    record,
    source,
    active: assumed ? [assumedWindow(source, now), ...active] : active,
    ahead: windowsAhead(record, schedule, now),
    closedSince: since ?? (assumed ? now : null)
  }
}

/** Stored and scheduled windows that are not over, in the order of their starts. */
export function windowsOf ({ record, active, ahead }: StateView): StoredWindow[] {
  const stored = record.windows.filter(window => active.includes(window) || ahead.includes(window))
  const scheduled = [...active, ...ahead].filter(({ kind }) => kind === 'scheduled')
  return [...stored, ...scheduled].sort((a, b) => startOf(a) - startOf(b))
}

/** Can anything be blocked now that passed before? What then runs is from before. */
export function isTightened (before: readonly StoredWindow[], after: readonly StoredWindow[]): boolean {
  const known = new Set(before.map(extentOf))
  return after.some(window => !known.has(extentOf(window)))
}

const extentOf = ({ id, mode, onlyRoutes }: StoredWindow): string => JSON.stringify([id, mode, onlyRoutes])
