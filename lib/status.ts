import type { MaintenanceStatus, SiteState, WindowStatus } from '../types/index.ts'
import type { Activity } from './drain/activity.ts'
import type { Site } from './site.ts'
import { modeOf, type StoredWindow } from './state/record.ts'
import { windowsOf, type StateView } from './state/view.ts'
import { toUpcoming } from './state/window.ts'
import type { OpenedStore } from './stores/open.ts'

/** What a site's state says, for people and programs. */
export function describeState (site: string, view: StateView): SiteState {
  const { record, active, ahead } = view
  const deciding = active[0]
  return {
    site,
    active: deciding !== undefined,
    mode: deciding === undefined ? null : modeOf(deciding),
    message: deciding?.message ?? null,
    startsAt: deciding?.startsAt ?? null,
    endsAt: deciding?.endsAt ?? null,
    retryAfter: deciding?.retryAfter ?? null,
    closedSince: view.closedSince === null ? null : new Date(view.closedSince).toISOString(),
    changedAt: record.at,
    by: record.by,
    revision: record.revision,
    windows: windowsOf(view).map(window => describeWindow(window, active.includes(window))),
    upcoming: ahead[0] === undefined ? null : toUpcoming(ahead[0])
  }
}

function describeWindow (window: StoredWindow, active: boolean): WindowStatus {
  const { id, kind, message, startsAt, endsAt, retryAfter, lease, by, at, host = null, pid = null } = window
  const { ignoreRoutes, ignoreIps, onlyRoutes } = window
  return {
    id,
    kind,
    active,
    mode: modeOf(window),
    message,
    startsAt,
    endsAt,
    retryAfter,
    ignoreRoutes: [...ignoreRoutes],
    ignoreIps: [...ignoreIps],
    onlyRoutes: [...onlyRoutes],
    bypass: window.bypass !== null,
    lease,
    by,
    at,
    host,
    pid
  }
}

export interface StatusParts {
  readonly site: Site
  readonly activity: Activity
  readonly kind: OpenedStore['kind']
  /** How many bypass secrets were wrong. */
  readonly failedBypasses: () => number
}

/** @param view of the state to describe: the one of a write may be older than the present one */
export function statusOf ({ site, activity, kind, failedBypasses }: StatusParts, view: StateView): MaintenanceStatus {
  const { connected, lastReadAt, error } = site.health
  const { blocked, ignored, held } = site.counts
  return {
    ...describeState(site.name, view),
    source: view.source,
    store: { kind, connected, lastReadAt, error },
    counts: { blocked, ignored, failedBypasses: failedBypasses() },
    held,
    inFlight: activity.requests().length,
    streams: activity.streams().length
  }
}
