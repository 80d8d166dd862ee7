import { setTimeout as sleep } from 'node:timers/promises'
import { drainError } from '../drain/drain.ts'
import { withTimeout } from '../util/timeout.ts'
import { createCensus } from './census.ts'
import { siteOf, type ServerEntry } from './entry.ts'
import {
  detailsOf,
  fencedInWords,
  isReady,
  measure,
  NOT_READ,
  reasonsOf,
  type Goal,
  type Progress
} from './progress.ts'

/** How often the servers are asked, ms; of a long list, less often. */
const POLL_INTERVAL = 100
const PER_SERVER = 0.2
/** All servers must stay ready this long (ms): one that has just begun may not be listed yet. */
const SETTLED_AFTER = 300
/** A list that takes longer counts as not read, ms. */
const LIST_TIMEOUT = 3000
/** How often the log says what a wait is waiting for, ms. */
const SAY_EVERY = 5000

export interface WaitParts extends Goal {
  /** Lists all servers of the site, goodbyes included. */
  readonly list: () => Promise<readonly ServerEntry[]>
  /** The time of the store, ms. */
  readonly now: () => number
  /** ms */
  readonly timeout: number
  /** An operator has made sure that lost servers are dead. */
  readonly assumeDead: boolean
  readonly strikeOff: (server: ServerEntry) => Promise<void>
  /** What becomes of the change if it is not safe. */
  readonly otherwise: string
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: (progress: Progress) => void
  /** For the log: that a wait began, and how it ended. */
  readonly say: (text: string) => void
  /** What it waits for, now and then, and what to know of a success. */
  readonly remark: (text: string) => void
}

/**
 * Waits until it is safe to go on: at least one server is known, all have the state, none is lost or pinned to the
 * opposite and, if the site closes, none runs anything from before. A list that cannot be read is asked for again.
 * @throws FST_ERR_MAINTENANCE_DRAIN if it is not safe in time, or cannot become so; the reason of the signal
 */
export async function waitForServers (parts: WaitParts): Promise<Progress> {
  const { timeout, say, remark, site } = parts
  const began = performance.now()
  say(`waiting for the servers of site '${site}', at most ${timeout} ms`)
  try {
    const progress = await keepWaiting(parts, began)
    for (const server of progress.fenced) remark(fencedInWords(server, site))
    say(`${count(progress.known)} of site '${site}' ready after ${elapsed(began)} ms`)
    return progress
  } catch (error) {
    say(`the wait for the servers of site '${site}' ended after ${elapsed(began)} ms: ${(error as Error).message}`)
    throw error
  }
}

const elapsed = (began: number): number => Math.round(performance.now() - began)
const count = (servers: number): string => `${servers} ${servers === 1 ? 'server is' : 'servers are'}`

async function keepWaiting (parts: WaitParts, began: number): Promise<Progress> {
  const { timeout, signal, onProgress, remark } = parts
  const look = createLook(parts)
  let readySince: number | null = null
  let saidAt = began
  let last: Progress | null = null
  for (;;) {
    signal?.throwIfAborted()
    const left = Math.max(timeout - elapsed(began), POLL_INTERVAL)
    const progress = await withTimeout(look(), Math.min(LIST_TIMEOUT, left)).catch(() => null)
    last = progress ?? last
    if (progress !== null) onProgress?.(progress)
    const now = performance.now()
    readySince = progress !== null && isReady(progress) ? readySince ?? now : null
    if (progress !== null && readySince !== null && now - readySince >= SETTLED_AFTER) return progress
    if (progress?.isHopeless === true || (readySince === null && now - began >= timeout)) {
      throw notSafe(last, progress === null, parts, elapsed(began))
    }
    if (now - saidAt >= SAY_EVERY) {
      saidAt = now
      remark(`still waiting: ${reasonsOf(progress, parts)}`)
    }
    const interval = Math.max(POLL_INTERVAL, PER_SERVER * (progress?.known ?? 0))
    await sleep(interval, undefined, signal === undefined ? {} : { signal }).catch(() => {})
  }
}

/** One look at the servers. Those that an operator knows to be dead are struck off, unless they are heard of again. */
function createLook ({ list, now, assumeDead, strikeOff, ...goal }: WaitParts): () => Promise<Progress> {
  const takeCensus = createCensus(now)
  const struckOff = new Map<string, string>()
  const isStruckOff = ({ id, seenAt }: ServerEntry): boolean => struckOff.get(id) === seenAt

  async function strike (server: ServerEntry): Promise<void> {
    if (isStruckOff(server) || siteOf(server, goal.site)?.pinned === true) return
    struckOff.set(server.id, server.seenAt)
    await strikeOff(server).catch(() => {})
  }

  return async function look () {
    const census = takeCensus(await list())
    if (assumeDead && census.isSure) await Promise.all(census.lost.map(strike))
    return measure({ ...census, lost: census.lost.filter(server => !isStruckOff(server)) }, goal)
  }
}

/** @param isOld the servers could be read before, but not any more */
function notSafe (last: Progress | null, isOld: boolean, parts: WaitParts, elapsed: number): Error {
  const old = isOld && last !== null ? `${NOT_READ} any more; ` : ''
  return drainError(
    `not safe after ${elapsed} ms, ${parts.otherwise}: ${old}${reasonsOf(last, parts)}`,
    detailsOf(last, parts)
  )
}
