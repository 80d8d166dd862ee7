import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore, ServerSite, ServerStatus } from '../../types/index.ts'
import { countByName, countsInWords, type Activity } from '../drain/activity.ts'
import { messageOf } from '../errors.ts'
import type { Site } from '../site.ts'
import { timeOf } from '../state/time.ts'
import type { Log } from '../util/log.ts'
import { createSharedRun } from '../util/queue.ts'
import { withTimeout } from '../util/timeout.ts'
import { sayGoodbyeForDead } from './dead.ts'
import {
  FORGOTTEN_AFTER,
  goodbyeOf,
  GOODBYE_TTL,
  HEARTBEAT_INTERVAL,
  LOST_AFTER,
  siteOf,
  type ServerEntry
} from './entry.ts'
import { instant, type Fence } from './fence.ts'
import { describeProcess } from './identity.ts'
import { createEntryReader, describeServers, inOrder } from './server-list.ts'

/** A server that vanished is remembered, so that it is not taken for one that stopped. ms */
const TTL = LOST_AFTER + FORGOTTEN_AFTER
/** While a drain waits for this server: how often it reports, and how often it looks whether it is ready, ms. */
const PROGRESS_INTERVAL = 500
const POLL_INTERVAL = 20
/** Until its first heartbeat is accepted, a server is known to nobody, so it tries again soon, ms. */
const UNLISTED_INTERVAL = 500
/** A heartbeat that takes longer has failed, ms. Booting waits for one, and for another if the first one failed. */
const HEARTBEAT_TIMEOUT = 3000
/** How often each server looks for dead ones, ms. Longer in a large fleet, all of which read the list. */
const sweepInterval = (servers: number): number => Math.max(LOST_AFTER, servers ** 2)

/** A site as far as its heartbeat matters. */
export interface HeartbeatSite {
  readonly name: string
  readonly site: Pick<Site, 'gate' | 'view' | 'health' | 'refresh' | 'onChange'>
  readonly activity: Activity
}

export interface Servers {
  /**
   * Sends the first heartbeat. To be called before the state is read: what this server then does is known to others.
   */
  register (): Promise<void>
  /** Sends another one, and reads the state behind it. To be called before this server listens. */
  start (): Promise<void>
  /** @throws FST_ERR_MAINTENANCE_STORE */
  list (site: string): Promise<ServerStatus[]>
  /** The entries of a site, goodbyes included. @throws FST_ERR_MAINTENANCE_STORE */
  entries (site: string): Promise<ServerEntry[]>
  /** Says goodbye for a server that an operator knows to be dead. */
  strikeOff (server: ServerEntry): Promise<void>
  /** Is anything running? Then it takes a while to say goodbye. */
  readonly isRunning: boolean
  /** Says goodbye. */
  stop (): Promise<void>
}

export interface ServersParts {
  readonly store: MaintenanceStore
  readonly sites: readonly HeartbeatSite[]
  readonly bypassPath: string | null
  /** `null`: the option is not set. */
  readonly fence: Fence | null
  readonly log: Log
}

/**
 * Tells the store every few seconds, and after each change, that this server lives and what it runs. Requests pay
 * nothing for it.
 */
export function createServers ({ store, sites, bypassPath, fence, log }: ServersParts): Servers {
  const self = { ...describeProcess(), bypassPath, fence: fence?.after ?? null }
  const stopping = new AbortController()
  const readEntries = createEntryReader(store)
  const beat = createSharedRun(async () => { if (!stopping.signal.aborted) await sendHeartbeat() })
  let watching = false
  let problem: string | null = null
  let relistedAt: string | null = null
  let isListed = false
  let timer: NodeJS.Timeout | undefined
  let sweepTimer: NodeJS.Timeout | undefined

  const tasks = () => sites.flatMap(({ activity }) => activity.tasks())
  const now = (): string => new Date(timeOf(store)).toISOString()

  /** What is true now. */
  function describe (): ServerEntry {
    const running = sites.map(({ activity }) => activity)
    return {
      ...self,
      sites: sites.map(describeSite),
      inFlight: running.flatMap(activity => activity.requests()).length,
      streams: running.flatMap(activity => activity.streams()).length,
      draining: countByName(running.flatMap(activity => activity.tasksBefore())),
      seenAt: now(),
      lost: false,
      left: false,
      relistedAt
    }
  }

  async function sendHeartbeat (): Promise<void> {
    const sentAt = instant()
    const accepted = await send(JSON.stringify(describe()), TTL)
    if (accepted === null) return
    fence?.extend(sentAt)
    if (accepted.isNew && isListed) {
      // the store has lost its entries, and those of the others
      relistedAt = now()
      await send(JSON.stringify(describe()), TTL)
    }
    isListed = true
    if (fence?.isUp === true) await lowerFence(fence)
  }

  /** Others see this server now: what they have written since then is found by a read that begins now. */
  async function lowerFence (fence: Fence): Promise<void> {
    await Promise.all(sites.map(({ site }) => site.refresh()))
    if (sites.every(({ site }) => site.health.connected)) fence.lower()
  }

  /** @returns `null`: it failed */
  async function send (entry: string, ttl: number): Promise<{ isNew: boolean } | null> {
    try {
      const isNew = await withTimeout(Promise.resolve(store.heartbeat?.(self.id, entry, ttl)), HEARTBEAT_TIMEOUT)
      report(null)
      return { isNew: isNew === true }
    } catch (error) {
      report(messageOf(error))
      return null
    }
  }

  /** Logs only changes: the synchroniser already reports a store that cannot be reached. */
  function report (error: string | null): void {
    if (error !== null && problem === null) {
      log.warn({ error }, `maintenance: other servers cannot see this one: ${error}`)
    }
    problem = error
  }

  /** The next one doesn't wait for an answer to the last: a store that hangs must not make this server look lost. */
  function beatRegularly (): void {
    const interval = Math.min(isListed ? HEARTBEAT_INTERVAL : UNLISTED_INTERVAL, (fence?.after ?? Infinity) / 3)
    timer = setTimeout(() => {
      beat()
      beatRegularly()
    }, interval * (0.9 + 0.2 * Math.random())).unref()
  }

  const isHeldUp = (): boolean => sites.some(({ activity }) => activity.tasksBefore().length > 0)

  /** A wait on another server learns at once when the last request from before has ended here. */
  async function watch (): Promise<void> {
    if (watching) return
    watching = true
    let reportedAt = performance.now()
    while (isHeldUp() && !stopping.signal.aborted) {
      await sleep(POLL_INTERVAL, undefined, { ref: false })
      if (isHeldUp() && performance.now() - reportedAt < PROGRESS_INTERVAL) continue
      reportedAt = performance.now()
      await beat()
    }
    watching = false
  }

  function onChange (): void {
    beat()
    watch()
  }

  /** Servers that died on this host are no longer waited for. */
  async function sweep (): Promise<void> {
    const entries = await readEntries().catch(() => [])
    await sayGoodbyeForDead(store, entries, self).catch(() => {})
    if (!stopping.signal.aborted) {
      sweepTimer = setTimeout(sweep, sweepInterval(entries.length) * (0.9 + 0.2 * Math.random())).unref()
    }
  }

  /** A goodbye says that nothing of this server is running, so it waits for what is. */
  async function sayGoodbye (): Promise<void> {
    while (tasks().length > 0) await sleep(POLL_INTERVAL, undefined, { ref: false })
    await send(goodbyeOf(describe()), GOODBYE_TTL)
  }

  return {
    async register () {
      if (store.heartbeat === undefined) return
      for (const { site } of sites) site.onChange(onChange)
      await withTimeout(beat(), HEARTBEAT_TIMEOUT).catch(() => {})
      beatRegularly()
    },
    async start () {
      if (store.heartbeat === undefined) return
      // register first, then read: either a writer sees this server, or this server sees the write
      const refreshed = beat().then(() => Promise.all(sites.map(({ site }) => site.refresh())))
      // a store that cannot be read either is not waited for
      const isReachable = sites.some(({ site }) => site.health.connected)
      await withTimeout(refreshed, isReachable ? HEARTBEAT_TIMEOUT : 0).catch(() => {})
      sweep()
    },
    async list (site) {
      const others = (await readEntries()).filter(({ id }) => id !== self.id)
      return describeServers(inOrder([...others, describe()]), timeOf(store)).filter(
        server => siteOf(server, site) !== undefined
      )
    },
    async entries (site) {
      const others = (await readEntries()).filter(({ id }) => id !== self.id)
      return [...others, describe()].filter(server => siteOf(server, site) !== undefined)
    },
    async strikeOff (server) {
      await store.heartbeat?.(server.id, goodbyeOf(server), GOODBYE_TTL)
    },
    get isRunning () { return tasks().length > 0 },
    async stop () {
      clearTimeout(timer)
      clearTimeout(sweepTimer)
      stopping.abort()
      fence?.close()
      if (store.heartbeat === undefined) return
      // after the heartbeat that is being sent
      await beat()
      if (tasks().length > 0) {
        log.warn(
          `maintenance: this server closes while it runs ${countsInWords(countByName(tasks()))}; a wait counts it as lost`
        )
        await send(JSON.stringify({ ...describe(), draining: countByName(tasks()) }), TTL)
      }
      await sayGoodbye()
    }
  }
}

function describeSite ({ name, site: { gate, view }, activity }: HeartbeatSite): ServerSite {
  const pinned = view.source === 'pinned'
  return {
    site: name,
    revision: view.record.revision,
    active: gate.active,
    pinned,
    draining: countByName(activity.tasksBefore())
  }
}
