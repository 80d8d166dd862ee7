import type { ChangeListener, MaintenanceStatus } from '../types/index.ts'
import { openingCommand, exemptionsOf } from './exemptions.ts'
import type { Settings } from './options.ts'
import type { RouteConfigs } from './route-config.ts'
import type { Site } from './site.ts'
import { isSameChange } from './state/record.ts'
import type { StateView } from './state/view.ts'
import type { Log } from './util/log.ts'

export interface ChangeLogParts {
  readonly site: Site
  readonly status: (view: StateView) => MaintenanceStatus
  readonly settings: Settings
  readonly routes: RouteConfigs
  readonly log: Log
}

/**
 * Logs each change of a site in one line, and calls its listeners.
 * @returns a function that adds a listener
 */
export function createChangeLog ({
  site,
  status,
  settings,
  routes,
  log
}: ChangeLogParts): (listener: ChangeListener) => () => void {
  const listeners = new Set<ChangeListener>(settings.onChange === undefined ? [] : [settings.onChange])

  site.onChange((view, previous) => {
    if (!isChange(view, previous)) return
    const now = status(view)
    const before = status(previous)
    writeLog(now, before, view)
    for (const listener of listeners) call(listener, now, before)
  })

  function writeLog (now: MaintenanceStatus, before: MaintenanceStatus, view: StateView): void {
    const { site: name, active, mode, startsAt, endsAt, by, revision, source } = now
    const closes = active && !before.active
    const exemptions = closes ? exemptionsOf(settings, routes, view.active) : []
    const exempt = exemptions.length === 0 ? '' : `; exempt: ${exemptions.join(', ')}`
    log.info(
      { maintenance: { site: name, active, mode, startsAt, endsAt, by, revision, source } },
      `maintenance: site '${name}' ${inWords(now, before)}${exempt}`
    )
    if (closes && exemptions.length === 0) {
      log.info(`maintenance: everyone is blocked from site '${name}'. Reopen with: ${openingCommand(settings, name)}`)
    }
  }

  async function call (listener: ChangeListener, now: MaintenanceStatus, before: MaintenanceStatus): Promise<void> {
    try {
      await listener(now, before)
    } catch (error) {
      log.error({ err: error }, 'maintenance: an onChange listener failed')
    }
  }

  return listener => {
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
    }
  }
}

/** The renewal of a lease is no change, nor is a store that was reached and holds nothing. */
function isChange (view: StateView, previous: StateView): boolean {
  const ids = ({ active }: StateView): string => active.map(({ id }) => id).join()
  return !isSameChange(view.record, previous.record) || ids(view) !== ids(previous)
}

function inWords (now: MaintenanceStatus, before: MaintenanceStatus): string {
  if (now.source === 'unreadable') return 'is closed: its stored state is corrupt; set it again to repair it'
  if (now.active) {
    const part = now.windows.some(({ active, onlyRoutes }) => active && onlyRoutes.length === 0)
      ? ''
      : ', only some routes'
    return `${before.active ? 'stays' : 'is now'} closed (${now.mode}${part})${now.endsAt === null ? '' : `, until ${now.endsAt}`}`
  }
  const next = now.upcoming === null ? '' : ` and closes at ${now.upcoming.startsAt}`
  return before.active ? `is open again${next}` : `is open${next}`
}
