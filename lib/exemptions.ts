import type { Log } from './util/log.ts'
import type { Settings } from './options.ts'
import type { Routes } from './route-config.ts'
import type { StateRecord } from './state/record.ts'

/** Who may still get in while a site is closed, in words; being locked out is the most frequent complaint. */
export function waysIn ({ ignore }: Settings, routes: Routes, { ignoreRoutes, bypass }: StateRecord): string[] {
  const ways: [number, string][] = [
    [ignore.routes.length + ignoreRoutes.length, 'ignored routes'],
    [routes.off, "routes declared 'off'"],
    [ignore.ipRules, 'ignored addresses'],
    [bypass === null ? 0 : 1, 'bypass'],
    [ignore.request === undefined ? 0 : 1, 'users by ignore.request']
  ]
  return ways.filter(([number]) => number > 0).map(([number, words]) => words.includes(' ') && number > 1 ? `${number} ${words}` : words)
}

/** What opens the site again, ready to be typed. */
export function openingCommand ({ store }: Settings, site: string): string {
  if (typeof store === 'object' && 'file' in store) return `npx fastify-maintenance off ${site} --store file:${store.file}`
  if (typeof store === 'object' && 'redis' in store) return `npx fastify-maintenance off ${site} --store redis://…`
  return `app.maintenance.for('${site}').set(false)`
}

/** A rule for users lets nobody in who cannot sign in. */
export function warnOfNoLogin ({ ignore }: Settings, routes: Routes, log: Log): void {
  if (ignore.request === undefined || ignore.routes.length > 0 || routes.off > 0) return
  log.warn("maintenance: ignore.request is set, but no route is ignored or declared 'off': while the site is closed, nobody can sign in")
}
