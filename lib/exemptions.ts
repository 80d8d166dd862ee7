import type { Settings } from './options.ts'
import type { RouteConfigs } from './route-config.ts'
import type { StoredWindow } from './state/record.ts'
import type { StoreOption } from './stores/options.ts'
import type { Log } from './util/log.ts'

/** Which requests a closed site still lets through, in words. Being locked out is the most frequent complaint. */
export function exemptionsOf ({ ignore }: Settings, routes: RouteConfigs, windows: readonly StoredWindow[]): string[] {
  const sum = (count: (window: StoredWindow) => number): number =>
    windows.reduce((total, window) => total + count(window), 0)
  const exemptions: [number, string][] = [
    [ignore.routes.length + sum(window => window.ignoreRoutes.length), 'ignored routes'],
    [routes.off, "routes declared 'off'"],
    [ignore.ipRules + sum(window => window.ignoreIps.length), 'ignored addresses'],
    [sum(window => window.bypass === null ? 0 : 1), 'bypass'],
    [ignore.request === undefined ? 0 : 1, 'users by ignore.request']
  ]
  return exemptions.filter(([count]) => count > 0)
    .map(([count, words]) => words.includes(' ') && count > 1 ? `${count} ${words}` : words)
}

/** What opens the site again, ready to be typed. */
export function openingCommand ({ store }: Settings, site: string): string {
  const address = typeof store === 'object' ? addressOf(store) : null
  if (address === null) return `app.maintenance.for('${site}').set(false)`
  return `npx fastify-maintenance off ${site} --store ${address}`
}

/** As the command takes it, without a password; `null`: the command cannot reach the store by an address. */
function addressOf (store: Exclude<StoreOption, string>): string | null {
  if ('file' in store) return `file:${store.file}`
  if ('redis' in store) return 'redis://…'
  if (!('sql' in store) || typeof store.sql.client !== 'string') return null
  return store.sql.client.startsWith('sqlite:') ? store.sql.client : `${store.sql.client.split('//', 1)[0]}//…`
}

/** A rule for users is useless if the page where they sign in is blocked. */
export function warnOfNoLogin ({ ignore }: Settings, routes: RouteConfigs, log: Log): void {
  if (ignore.request === undefined || ignore.routes.length > 0 || routes.off > 0) return
  log.warn(
    "maintenance: ignore.request is set, but no route is ignored or declared 'off': users cannot sign in while the site is closed"
  )
}
