import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerStatus } from '../../types/index.ts'
import { countsInWords } from '../drain/activity.ts'
import { drainError } from '../drain/drain.ts'
import { withTimeout } from '../util/timeout.ts'
import { siteOf } from './server-list.ts'

/** How often the servers are asked, ms. */
const POLL_INTERVAL = 100
/** All servers must stay ready this long (ms): one whose heartbeat had expired registers again when it sees the change. */
const SETTLED_AFTER = 300
/** A list that takes longer counts as not read, ms. */
const LIST_TIMEOUT = 3000

/** How far the servers of a site are. */
export interface Progress {
  /** All live ones except pinned ones. */
  readonly servers: readonly ServerStatus[]
  /** How many servers have been seen since the wait began; with 0, "safe" must not be claimed. */
  readonly known: number
  /** How many of them have the new state. */
  readonly followed: number
  /** Those that don't, or still run something from before. */
  readonly unready: readonly ServerStatus[]
  /** Requests and work from before that are still running, on all servers. */
  readonly inFlight: number
  /** Pinned servers in the opposite state. They are not waited for. */
  readonly pinned: readonly ServerStatus[]
  /** Servers that were there when the wait began and are gone: stopped, dead, or cut off from the store. */
  readonly gone: readonly ServerStatus[]
}

export interface WaitParts {
  readonly site: string
  /** Lists every live server. */
  readonly list: () => Promise<readonly ServerStatus[]>
  readonly on: boolean
  /** Of the change. */
  readonly revision: number
  /** ms */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: (progress: Progress) => void
}

/**
 * Waits until every live server that is not pinned has the state and, if the site closes, runs nothing from before. A list
 * that cannot be read is asked for again.
 * @throws FST_ERR_MAINTENANCE_DRAIN; the reason of the signal
 */
export async function waitForServers (parts: WaitParts): Promise<Progress> {
  const { list, timeout, signal, onProgress } = parts
  const begin = performance.now()
  const seen = new Map<string, ServerStatus>()
  let readySince: number | null = null
  for (;;) {
    signal?.throwIfAborted()
    const progress = await withTimeout(list(), LIST_TIMEOUT).then(servers => measure(servers, seen, parts), () => null)
    if (progress !== null) onProgress?.(progress)
    const now = performance.now()
    readySince = progress?.unready.length === 0 ? readySince ?? now : null
    if (progress !== null && readySince !== null && now - readySince >= SETTLED_AFTER) return progress
    if (readySince === null && now - begin >= timeout) throw late(progress, parts)
    await sleep(POLL_INTERVAL, undefined, signal === undefined ? {} : { signal }).catch(() => {})
  }
}

function measure (all: readonly ServerStatus[], seen: Map<string, ServerStatus>, parts: WaitParts): Progress {
  for (const server of all) seen.set(server.id, server)
  const { site, on } = parts
  const servers = all.filter(server => siteOf(server, site)?.pinned !== true)
  return {
    servers,
    known: seen.size,
    followed: servers.filter(server => hasFollowed(server, parts)).length,
    unready: servers.filter(server => !hasFollowed(server, parts) || (on && running(server, site) > 0)),
    inFlight: servers.reduce((sum, server) => sum + running(server, site), 0),
    pinned: all.filter(server => siteOf(server, site)?.pinned === true && siteOf(server, site)?.active !== on),
    gone: [...seen.values()].filter(server => !all.some(({ id }) => id === server.id))
  }
}

function hasFollowed (server: ServerStatus, { site, on, revision }: WaitParts): boolean {
  const served = siteOf(server, site)
  return served !== undefined && served.revision >= revision && (!on || served.active)
}

const running = (server: ServerStatus, site: string): number =>
  Object.values(siteOf(server, site)?.draining ?? {}).reduce((sum, count) => sum + count, 0)

function late (progress: Progress | null, { site, on, timeout }: WaitParts): Error {
  const unready = progress?.unready ?? []
  const words = progress === null ? 'the list of servers could not be read' : unready.map(server => whyUnready(server, site, on)).join('; ')
  const routes = sum(unready.map(server => siteOf(server, site)?.draining ?? {}))
  return drainError(`not ready after ${timeout} ms, but the change stands: ${words}`, { inFlight: progress?.inFlight ?? 0, routes, servers: unready })
}

function whyUnready (server: ServerStatus, site: string, on: boolean): string {
  const served = siteOf(server, site)
  const work = countsInWords(served?.draining ?? {})
  const reason = served?.active === false && on ? 'is open' : work === '' ? 'has not seen the change' : `runs ${work}`
  return `${server.label} ${reason}, last seen at ${server.seenAt}`
}

function sum (counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const [name, count] of counts.flatMap(Object.entries)) total[name] = (total[name] ?? 0) + count
  return total
}
