import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore, ServerSite, ServerStatus } from '../../types/index.ts'
import { countByName, type Activity } from '../drain/activity.ts'
import { messageOf } from '../errors.ts'
import type { Site } from '../site.ts'
import { timeOf } from '../state/time.ts'
import type { Log } from '../util/log.ts'
import { createSharedRun } from '../util/queue.ts'
import { withTimeout } from '../util/timeout.ts'
import { describeProcess } from './identity.ts'
import { inOrder, readServers } from './server-list.ts'

/** A server whose last heartbeat is older than this counts as gone, ms. */
const TTL = 15_000
/** Three heartbeats may get lost, ms. */
const HEARTBEAT_INTERVAL = 4000
/** While a drain waits for this server: how often it reports, and how often it looks whether it is ready, ms. */
const PROGRESS_INTERVAL = 500
const POLL_INTERVAL = 20
/** How long booting waits for the first heartbeat, ms. */
const BOOT_TIMEOUT = 1000
/** A heartbeat that takes longer has failed, ms. */
const HEARTBEAT_TIMEOUT = 3000

/** A site as far as its heartbeat matters. */
export interface HeartbeatSite {
  readonly name: string
  readonly site: Pick<Site, 'gate' | 'view' | 'refresh' | 'onChange'>
  readonly activity: Activity
}

export interface Servers {
  /** Sends the first heartbeat. */
  start (): Promise<void>
  /** @throws FST_ERR_MAINTENANCE_STORE */
  list (site: string): Promise<ServerStatus[]>
  /** Removes this server from the list. */
  stop (): Promise<void>
}

export interface ServersParts {
  readonly store: MaintenanceStore
  readonly sites: readonly HeartbeatSite[]
  readonly bypassPath: string | null
  readonly log: Log
}

/** Tells the store every few seconds, and after each change, that this server lives and what it runs. Requests pay nothing for it. */
export function createServers ({ store, sites, bypassPath, log }: ServersParts): Servers {
  const self = { ...describeProcess(), bypassPath }
  const stopping = new AbortController()
  // each heartbeat says what is true when it is sent
  const beat = createSharedRun(async () => {
    if (!stopping.signal.aborted) await send(() => JSON.stringify(describe()), TTL)
  })
  let watching = false
  let problem: string | null = null
  let timer: NodeJS.Timeout | undefined

  function describe (): ServerStatus {
    const described = sites.map(describeSite)
    const sum = (count: (activity: Activity) => number): number => sites.reduce((total, { activity }) => total + count(activity), 0)
    return {
      ...self,
      sites: described,
      inFlight: sum(activity => activity.requests().length),
      streams: sum(activity => activity.streams().length),
      draining: countByName(sites.flatMap(({ activity }) => activity.tasksBefore())),
      seenAt: new Date(timeOf(store)).toISOString(),
      lost: false
    }
  }

  async function send (entry: () => string, ttl: number): Promise<void> {
    try {
      await withTimeout(Promise.resolve(store.heartbeat?.(self.id, entry(), ttl)), HEARTBEAT_TIMEOUT)
      report(null)
    } catch (error) {
      report(messageOf(error))
    }
  }

  /** Logs only changes: the synchroniser already reports a store that cannot be reached. */
  function report (error: string | null): void {
    if (error !== null && problem === null) log.warn({ error }, `maintenance: other servers cannot see this one, and do not wait for it: ${error}`)
    problem = error
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

  return {
    async start () {
      if (store.heartbeat === undefined) return
      for (const { site } of sites) site.onChange(onChange)
      timer = setInterval(beat, HEARTBEAT_INTERVAL * (0.9 + 0.2 * Math.random())).unref()
      // register first, then read: either a writer sees this server, or this server sees the write
      const refreshed = beat().then(() => Promise.all(sites.map(({ site }) => site.refresh())))
      await withTimeout(refreshed, BOOT_TIMEOUT).catch(() => {})
    },
    async list (site) {
      const others = (await readServers(store, site)).filter(server => server.id !== self.id)
      return inOrder(sites.some(({ name }) => name === site) ? [...others, describe()] : others)
    },
    async stop () {
      clearInterval(timer)
      stopping.abort()
      if (store.heartbeat === undefined) return
      // after the heartbeat that is being sent
      await beat()
      await send(() => '', 0)
    }
  }
}

function describeSite ({ name, site: { gate, view }, activity }: HeartbeatSite): ServerSite {
  const pinned = view.source === 'pinned'
  return { site: name, revision: view.record.revision, active: gate.active, pinned, draining: countByName(activity.tasksBefore()) }
}
