import type { Bypass, MaintenanceStore, SiteState } from '../../types/index.ts'
import { bypassOf } from '../bypass/request.ts'
import { makeSecret } from '../bypass/secret.ts'
import { readServers } from '../servers/heartbeat.ts'
import type { CheckedChange } from '../state/change.ts'
import { updateRecord } from '../state/write.ts'
import { waitForServers, type Progress } from '../servers/wait.ts'
import { reasonOf } from './print.ts'
import { toState } from './read-states.ts'

export type Changed = SiteState & { bypass?: Bypass }

/** One after the other: where one fails, the error names those that were changed before it. */
export async function changeAll (store: MaintenanceStore, sites: readonly string[], change: CheckedChange): Promise<Changed[]> {
  const states: Changed[] = []
  for (const site of sites) {
    try {
      // a secret of its own for each site
      const own = typeof change.secret === 'string' ? { ...change, secret: makeSecret() } : change
      const state = toState(site, await updateRecord(store, site, own))
      states.push(typeof own.secret === 'string' ? { ...state, bypass: bypassOf(own.secret) } : state)
    } catch (error) {
      const changed = states.length === 0 ? '' : `; changed before: ${states.map(state => state.site).join(', ')}`
      throw new Error(`site '${site}': ${reasonOf(error)}${changed}`)
    }
  }
  return states
}

/** What became of the wait for the servers of one site. */
export interface Waited {
  /** How far they were at the end; `null`: the list could not be read. */
  readonly progress: Progress | null
  /** Why it is not safe to go on, for people; `null`: it is. */
  readonly problem: string | null
}

/** @param onProgress is told of all sites as one */
export function waitForAll (store: MaintenanceStore, states: readonly SiteState[], timeout: number, onProgress: (progress: Progress) => void): Promise<Waited[]> {
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

async function waitFor (store: MaintenanceStore, { site, on, revision }: SiteState, timeout: number, onProgress: (progress: Progress) => void): Promise<Waited> {
  let progress: Progress | null = null
  const keep = (next: Progress): void => onProgress(progress = next)
  try {
    await waitForServers({ list: () => readServers(store, site), on, revision, timeout, onProgress: keep })
    return { progress, problem: null }
  } catch (error) {
    return { progress, problem: `site '${site}': ${reasonOf(error)}` }
  }
}

/** Whoever closes a site by a wrong name, or in a wrong store, should know. */
export async function warnUnserved (store: MaintenanceStore, sites: readonly string[], warn: (message: string) => void): Promise<void> {
  for (const site of sites) {
    const servers = await readServers(store, site).catch(() => null)
    if (servers?.length === 0) warn(`warning: no running server uses site '${site}'`)
  }
}
