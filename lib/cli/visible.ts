import type { MaintenanceStore, ServerStatus, SiteState } from '../../types/index.ts'
import { readServers, siteOf } from '../servers/server-list.ts'
import { EXIT } from './output.ts'
import { readState } from './read-states.ts'

/** What visitors get: the stored state, and the servers that do something else. */
export interface VisibleState extends SiteState {
  readonly servers: readonly ServerStatus[]
  /** Servers that do the opposite of what is stored, with the reason. */
  readonly differing: readonly string[]
}

export async function readVisible (store: MaintenanceStore, site: string): Promise<VisibleState> {
  const [state, servers] = await Promise.all([readState(store, site), readServers(store, site).catch(() => [])])
  const differing = servers.filter(server => siteOf(server, site)?.active !== state.active)
  return { ...state, servers, differing: differing.map(server => describe(server, state)) }
}

function describe (server: ServerStatus, { site, active, revision }: SiteState): string {
  const served = siteOf(server, site)
  const does = active ? 'open' : 'closed'
  if (served?.pinned === true) return `${server.label} is pinned ${does}`
  return (served?.revision ?? 0) < revision ? `${server.label} is ${does}: it has not followed yet` : `${server.label} is ${does}: by its schedule or its clock`
}

/** The servers decide; without one, what is stored. */
export function exitOf (states: readonly VisibleState[]): number {
  const exits = states.map(({ site, active, servers }) => {
    const closed = servers.filter(server => siteOf(server, site)?.active === true).length
    if (servers.length === 0) return active ? EXIT.inMaintenance : EXIT.done
    if (closed === servers.length) return EXIT.inMaintenance
    return closed === 0 ? EXIT.done : EXIT.unsafe
  })
  return [EXIT.unsafe, EXIT.inMaintenance].find(exit => exits.includes(exit)) ?? EXIT.done
}
