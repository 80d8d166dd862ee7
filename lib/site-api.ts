import type { ChangeListener, MaintenanceStatus } from '../types/index.ts'
import type { Pages } from './answer/page.ts'
import type { Redirect } from './answer/redirect.ts'
import { createChangeLog } from './change-log.ts'
import { createActivity, type Activity } from './drain/activity.ts'
import type { InFlight } from './drain/in-flight.ts'
import { createTracker, type Tracker } from './drain/track.ts'
import type { Fence } from './servers/fence.ts'
import type { HeartbeatSite } from './servers/heartbeat.ts'
import type { Settings } from './options.ts'
import type { RouteConfigs } from './route-config.ts'
import { createGateCompiler } from './site-gate.ts'
import { createSite, type Site } from './site.ts'
import { createHistory, type History } from './state/history.ts'
import { isSameChange } from './state/record.ts'
import { timeOf } from './state/time.ts'
import type { StateView } from './state/view.ts'
import { statusOf } from './status.ts'
import type { OpenedStore } from './stores/open.ts'
import type { Log } from './util/log.ts'
import type { CommonRules } from './window-rules.ts'

/** A site, and what stands beside it: its log, history, counters, and what runs for it. */
export interface SiteApi {
  readonly site: Site
  readonly status: (view: StateView) => MaintenanceStatus
  /** @returns a function that removes the listener */
  readonly listen: (listener: ChangeListener) => () => void
  readonly history: History
  readonly activity: Activity
  readonly tracker: Tracker
}

/** What the heartbeat says of a site. */
export const toHeartbeatSite = ({ site, activity }: SiteApi): HeartbeatSite => ({
  name: site.name,
  site,
  activity
})

export interface SiteApiParts {
  readonly name: string
  readonly settings: Settings
  readonly common: CommonRules
  readonly opened: OpenedStore
  readonly pages: Pages
  readonly redirect: Redirect | null
  readonly inFlight: InFlight
  readonly routes: RouteConfigs
  readonly fence: Fence | null
  readonly log: Log
}

export async function createSiteApi (
  { name, settings, common, opened, pages, redirect, inFlight, routes, fence, log }: SiteApiParts
): Promise<SiteApi> {
  const clock = () => timeOf(opened.store)
  const gates = await createGateCompiler({ site: name, settings, common, pages, redirect, log, clock })
  const site = await createSite({ name, settings, opened, gates, fence, log })
  const hasRequestsBefore = (epoch: number): boolean => inFlight.requestsBefore(name, epoch).length > 0
  const tracker = createTracker({ site: name, gate: () => site.gate, hasRequestsBefore, log })
  const activity = createActivity(name, () => site.gate, inFlight, tracker)
  const history = createHistory(opened.store, name)
  const failedBypasses = (): number => common.bypass?.guesses.wrong ?? 0
  const status = (view: StateView): MaintenanceStatus =>
    statusOf({ site, activity, kind: opened.kind, failedBypasses }, view)

  site.onChange(({ record, source }, previous) => {
    if (source === 'store' && !isSameChange(record, previous.record) && record.at !== null) history.remember(record)
  })
  return { site, status, listen: createChangeLog({ site, status, settings, routes, log }), history, activity, tracker }
}
