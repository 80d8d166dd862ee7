import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore, ServerSite, ServerStatus, SiteState } from '../../types/index.ts'
import { siteOf } from '../servers/entry.ts'
import { readAllServers } from '../servers/server-list.ts'
import { readStored } from '../state/read.ts'
import { NEVER_WRITTEN, type StateRecord } from '../state/record.ts'
import { NO_SCHEDULE } from '../state/schedule.ts'
import { timeOf } from '../state/time.ts'
import { viewOf } from '../state/view.ts'
import { momentOf } from '../state/window.ts'
import { describeState } from '../status.ts'

/** What is stored for a site, and the running servers that serve it. */
export interface SiteReport extends SiteState {
  readonly servers: readonly ServerStatus[]
  /** Servers that vanished: what they do is not known. */
  readonly lost: readonly ServerStatus[]
}

/** How long `status` waits for servers to report that they have followed a change, ms. */
const FOLLOW_TIMEOUT = 2000
const POLL_INTERVAL = 100

/** Recurring windows are options of the servers: the store knows none. */
export function toState (store: MaintenanceStore, site: string, record: StateRecord): SiteState {
  const moment = momentOf(timeOf(store))
  return describeState(site, viewOf({ record, source: 'store', assumed: false, schedule: NO_SCHEDULE, moment }))
}

/** @throws if a record cannot be understood */
export async function readReports (store: MaintenanceStore, sites: readonly string[]): Promise<SiteReport[]> {
  const deadline = performance.now() + FOLLOW_TIMEOUT
  for (;;) {
    const servers = await readAllServers(store)
    const reports = await Promise.all(
      sites.map(async site => ({ ...(await readState(store, site)), ...serversOf(servers, site) }))
    )
    // a change that has just been made reaches the servers, and their reports reach the store, a moment later
    if (!reports.some(isBehind) || performance.now() > deadline) return reports
    await sleep(POLL_INTERVAL)
  }
}

async function readState (store: MaintenanceStore, site: string): Promise<SiteState> {
  const stored = await readStored(store, site)
  if (stored.kind === 'unreadable') {
    throw new Error(`the state of site '${site}' cannot be understood: ${stored.reason}`)
  }
  return toState(store, site, stored.kind === 'record' ? stored.record : NEVER_WRITTEN)
}

export const serversOf = (servers: readonly ServerStatus[], site: string): Pick<SiteReport, 'servers' | 'lost'> => ({
  servers: liveServers(servers, site),
  lost: servers.filter(server => server.lost && siteOf(server, site) !== undefined)
})

export const liveServers = (servers: readonly ServerStatus[], site: string): ServerStatus[] =>
  servers.filter(server => !server.lost && siteOf(server, site) !== undefined)

/** The state of a site on a server that serves it. */
export const servedBy = (server: ServerStatus, site: string): ServerSite => siteOf(server, site) as ServerSite

const isBehind = ({ site, revision, servers }: SiteReport): boolean =>
  servers.map(server => servedBy(server, site)).some(served => !served.pinned && served.revision < revision)

/** The names of the sites that are stored, as far as the store can list them, or served. */
export async function knownSites (store: MaintenanceStore, servers: readonly ServerStatus[]): Promise<string[]> {
  const served = servers.flatMap(server => server.sites.map(({ site }) => site))
  const stored = store.readAll === undefined ? await defaultSite(store) : (await store.readAll()).keys()
  return [...new Set([...stored, ...served])].sort()
}

const defaultSite = async (store: MaintenanceStore): Promise<string[]> =>
  (await readStored(store, 'default')).kind === 'missing' ? [] : ['default']

/** What visitors get: what the running servers do; if there is none, what is stored. */
export function visitorsGet ({ site, active, servers }: SiteReport): 'open' | 'closed' | 'mixed' {
  const closed = servers.filter(server => servedBy(server, site).active).length
  if (servers.length === 0) return active ? 'closed' : 'open'
  return closed === 0 ? 'open' : closed === servers.length ? 'closed' : 'mixed'
}
