import type { MaintenanceStore, SiteState } from '../../types/index.ts'
import { readServers, siteOf } from '../servers/server-list.ts'
import { waitForServers, type Progress } from '../servers/wait.ts'
import { reasonOf } from './print.ts'

/** What became of the wait for the servers of one site. */
export interface Waited {
  /** How far they were at the end; `null`: the list could not be read. */
  readonly progress: Progress | null
  /** Why it is not safe to go on, for people; `null`: it is. */
  readonly problem: string | null
}

/** @param onProgress called with all sites as one */
export function waitForAll (
  store: MaintenanceStore, states: readonly SiteState[], timeout: number, onProgress: (progress: Progress) => void
): Promise<Waited[]> {
  const latest = new Map<string, Progress>()
  return Promise.all(states.map(state => waitFor(store, state, timeout, progress => {
    latest.set(state.site, progress)
    if (latest.size === states.length) onProgress(together([...latest.values()]))
  })))
}

export function together (all: readonly Progress[]): Progress {
  return {
    servers: all.flatMap(({ servers }) => servers),
    // one site without a server is enough: its name, or the store, may be the wrong one
    known: Math.min(...all.map(({ known }) => known)),
    followed: all.reduce((sum, { followed }) => sum + followed, 0),
    unready: all.flatMap(({ unready }) => unready),
    inFlight: all.reduce((sum, { inFlight }) => sum + inFlight, 0),
    pinned: all.flatMap(({ pinned }) => pinned),
    gone: all.flatMap(({ gone }) => gone)
  }
}

async function waitFor (
  store: MaintenanceStore, { site, active, revision }: SiteState, timeout: number, onProgress: (progress: Progress) => void
): Promise<Waited> {
  let progress: Progress | null = null
  const keep = (next: Progress): void => onProgress(progress = next)
  try {
    const end = await waitForServers({ site, list: () => readServers(store, site), on: active, revision, timeout, onProgress: keep })
    return { progress, problem: problemOf(site, end) }
  } catch (error) {
    return { progress, problem: `site '${site}': ${reasonOf(error)}` }
  }
}

function problemOf (site: string, { known }: Progress): string | null {
  return known === 0 ? `site '${site}': no running server is known, so nothing can be said about it` : null
}

/** Servers that do the opposite of what is stored, in words. */
export async function findOpposites (store: MaintenanceStore, { site, active }: SiteState): Promise<string[]> {
  const servers = await readServers(store, site).catch(() => [])
  return servers.filter(server => siteOf(server, site)?.pinned === true && siteOf(server, site)?.active !== active)
    .map(server => `${server.label} is pinned ${active ? 'open' : 'closed'} by its option 'pinned'`)
}
