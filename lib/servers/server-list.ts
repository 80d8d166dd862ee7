import type { MaintenanceStore, ServerStatus } from '../../types/index.ts'
import { readList } from '../state/read-list.ts'
import { bool, either, integer, isObject, isWhole, literal, text, type Rule, type Shape } from '../util/validate.ts'

const count = integer(0, Number.MAX_SAFE_INTEGER)
const time: Rule = { expected: 'a time', test: value => typeof value === 'string' && !Number.isNaN(Date.parse(value)) }
const counts: Rule = { expected: 'counts by name', test: value => isObject(value) && Object.values(value).every(count.test) }

const SITE: Shape = { site: text(64), revision: count, active: bool, pinned: bool, draining: counts }

const SERVER: Shape = {
  id: text(100),
  label: text(400),
  host: text(300),
  pid: count,
  version: text(100),
  sites: { expected: 'a list of sites', test: value => Array.isArray(value) && value.every(site => isWhole(SITE, pick(SITE, site))) },
  inFlight: count,
  streams: count,
  draining: counts,
  bypassPath: either(text(4096), literal(null)),
  startedAt: time,
  seenAt: time,
  lost: bool
}

export const inOrder = (servers: ServerStatus[]): ServerStatus[] => servers.sort((a, b) => a.startedAt < b.startedAt ? -1 : 1)

/**
 * Reads all servers, the oldest first. Entries that cannot be read are left out.
 * @throws FST_ERR_MAINTENANCE_STORE
 */
export async function readAllServers (store: MaintenanceStore): Promise<ServerStatus[]> {
  const entries = store.heartbeats === undefined ? [] : await readList(store.heartbeats())
  return inOrder(entries.map(parseServer).filter(server => server !== null))
}

/** Reads the servers of a site. @throws FST_ERR_MAINTENANCE_STORE */
export async function readServers (store: MaintenanceStore, site: string): Promise<ServerStatus[]> {
  return (await readAllServers(store)).filter(server => siteOf(server, site) !== undefined)
}

/** An entry has a few hundred characters, and some for each site and each route that is still running. */
const ENTRY_MAX = 1024 * 1024

/** Keys of later versions are left out: their servers must be seen, too. */
function parseServer (entry: string): ServerStatus | null {
  try {
    if (entry.length > ENTRY_MAX) return null
    const server = pick(SERVER, JSON.parse(entry))
    return isWhole(SERVER, server) ? server as unknown as ServerStatus : null
  } catch {
    return null
  }
}

const pick = (shape: Shape, value: unknown): Record<string, unknown> =>
  Object.fromEntries(Object.keys(shape).map(name => [name, isObject(value) ? value[name] : undefined]))

/** The state of one site on a server. */
export const siteOf = (server: ServerStatus, site: string): ServerStatus['sites'][number] | undefined =>
  server.sites.find(served => served.site === site)
