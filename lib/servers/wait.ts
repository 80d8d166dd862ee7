import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerStatus } from '../../types/index.ts'
import { routesInWords, stillRunning } from '../drain/drain.ts'
import { withTimeout } from '../util/timeout.ts'

/** How often the servers are asked how far they are, ms. */
const LOOK_EVERY = 100
/** What is true must stay true for so long: a server that the store had forgotten tells of itself when it sees the change, ms. */
const SETTLED_AFTER = 300
/** A list that takes longer counts as not read, ms. */
const LIST_TIMEOUT = 3000

/** How far the servers of a site are. */
export interface Progress {
  /** All live ones, but those that are pinned. */
  readonly servers: readonly ServerStatus[]
  /** Servers of any kind that were seen since the wait began; 0: nobody says that it is safe. */
  readonly known: number
  /** How many of them have taken the state over. */
  readonly followed: number
  /** Those that have not, or still run what is older. */
  readonly unready: readonly ServerStatus[]
  /** Requests from before that still run, on all of them. */
  readonly inFlight: number
  /** Not waited for: their option `enabled` keeps them in the other state. */
  readonly pinned: readonly ServerStatus[]
  /** Were there when the wait began, and are no more: stopped, dead, or cut off from the store for too long. */
  readonly gone: readonly ServerStatus[]
}

export interface WaitParts {
  /** Every live server. */
  readonly list: () => Promise<readonly ServerStatus[]>
  readonly on: boolean
  /** Of the change that is waited for. */
  readonly revision: number
  /** ms */
  readonly timeout: number
  readonly onProgress?: (progress: Progress) => void
}

/**
 * Waits until every live server that is not pinned has the state, and none that closes still runs a request from before.
 * A list that cannot be read is asked for again: nothing is claimed that is not known.
 * @throws FST_ERR_MAINTENANCE_DRAIN
 */
export async function waitForServers ({ list, on, revision, timeout, onProgress }: WaitParts): Promise<Progress> {
  const begin = performance.now()
  const seen = new Map<string, ServerStatus>()
  let readySince: number | null = null
  for (;;) {
    const progress = await withTimeout(list(), LIST_TIMEOUT).then(servers => measure(servers, seen, on, revision), () => null)
    if (progress !== null) onProgress?.(progress)
    const now = performance.now()
    readySince = progress?.unready.length === 0 ? readySince ?? now : null
    if (progress !== null && readySince !== null && now - readySince >= SETTLED_AFTER) return progress
    if (readySince === null && now - begin >= timeout) throw late(progress, on, timeout)
    await sleep(LOOK_EVERY)
  }
}

function measure (all: readonly ServerStatus[], seen: Map<string, ServerStatus>, on: boolean, revision: number): Progress {
  for (const server of all) seen.set(server.id, server)
  const servers = all.filter(server => !server.pinned)
  return {
    servers,
    known: seen.size,
    followed: servers.filter(server => hasFollowed(server, on, revision)).length,
    unready: servers.filter(server => !hasFollowed(server, on, revision) || (on && running(server) > 0)),
    inFlight: servers.reduce((sum, server) => sum + running(server), 0),
    pinned: all.filter(server => server.pinned && server.active !== on),
    gone: [...seen.values()].filter(server => !all.some(({ id }) => id === server.id))
  }
}

const hasFollowed = (server: ServerStatus, on: boolean, revision: number): boolean => server.revision >= revision && (!on || server.active)

const running = ({ holding }: ServerStatus): number => Object.values(holding).reduce((sum, count) => sum + count, 0)

function late (progress: Progress | null, on: boolean, timeout: number): Error {
  const unready = progress?.unready ?? []
  const words = progress === null ? 'the list of servers could not be read' : unready.map(server => holdUp(server, on)).join('; ')
  const routes = sum(unready.map(({ holding }) => holding))
  return stillRunning(`not ready after ${timeout} ms, but the change stands: ${words}`, { inFlight: progress?.inFlight ?? 0, routes, servers: unready })
}

export const nameOf = ({ host, pid }: ServerStatus): string => `${host} (process ${pid})`

/** Why a server is not ready, for people. */
function holdUp (server: ServerStatus, on: boolean): string {
  const requests = routesInWords(server.holding)
  const reason = !server.active && on ? 'is open' : requests === '' ? 'has not seen the change' : `runs ${requests}`
  return `${nameOf(server)} ${reason}, last seen at ${server.seenAt}`
}

function sum (counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const [route, count] of counts.flatMap(Object.entries)) total[route] = (total[route] ?? 0) + count
  return total
}
