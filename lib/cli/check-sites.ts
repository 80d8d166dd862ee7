import type { MaintenanceStore, ServerStatus } from '../../types/index.ts'
import { readAllServers, siteOf } from '../servers/server-list.ts'
import { readStored } from '../state/read.ts'
import { UsageError } from './parse.ts'

/**
 * A site that is neither stored nor served is usually a slip: a wrong folder, a wrong name, or a message without quotes.
 * @throws UsageError
 */
export async function checkSites (store: MaintenanceStore, sites: readonly string[], words: readonly string[]): Promise<void> {
  if (store.heartbeats === undefined) return
  const served = new Set((await readAllServers(store)).flatMap(server => server.sites.map(({ site }) => site)))
  const unknown: string[] = []
  for (const site of sites) {
    if (!served.has(site) && (await readStored(store, site)).kind === 'missing') unknown.push(site)
  }
  if (unknown.length === 0) return
  const known = served.size === 0 ? 'No server has registered in this store' : `Running there: ${[...served].sort().join(', ')}`
  const quote = words.length > 1 ? ' If it belongs to a message, quote the message.' : ''
  throw new UsageError(`unknown site ${unknown.map(site => `'${site}'`).join(', ')}. ${known}.${quote} Use --force to close it all the same`)
}

/**
 * The path of the bypass page as the live servers serve it.
 * @returns `null` if no server is alive: then nobody can say
 * @throws UsageError if servers have none
 */
export async function bypassPathOf (store: MaintenanceStore, site: string): Promise<string | null> {
  const servers = (await readAllServers(store)).filter(server => siteOf(server, site) !== undefined)
  const without = servers.filter(({ bypassPath }) => bypassPath === null)
  if (without.length > 0) {
    throw new UsageError(`--bypass: ${labelsOf(without)} ${without.length === 1 ? 'has' : 'have'} no bypass. Add bypass: {} to the plugin's options`)
  }
  return servers[0]?.bypassPath ?? null
}

const labelsOf = (servers: readonly ServerStatus[]): string => servers.map(({ label }) => label).join(', ')
