import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore, ServerStatus } from '../../types/index.ts'
import type { Log } from '../util/log.ts'
import { bool, integer, isObject, isWhole, text, type Shape } from '../util/validate.ts'
import { timeOf } from '../state/time.ts'
import { createSharedRun } from '../util/queue.ts'
import { messageOf } from '../errors.ts'
import { readList } from '../util/read-list.ts'
import { withTimeout } from '../util/timeout.ts'
import { VERSION } from '../util/version.ts'

/** A server that was not heard of for so long is dead, ms. */
const TTL = 15_000
/** How often a server says that it lives, ms: three may get lost. */
const BEAT_EVERY = 4000
/** How often it says what still runs, while something does that holds a drain, ms. */
const PROGRESS_EVERY = 500
/** How often it looks whether that has ended, ms. */
const LOOK_EVERY = 20
/** Booting does not wait longer for the first beat, ms. */
const PATIENCE = 1000
/** A beat that is not taken by then is told as a problem, and the next one is tried, ms. */
const BEAT_TIMEOUT = 3000

/** What a site tells of itself; the rest is the process's. */
export type SiteBeat = Pick<ServerStatus, 'site' | 'revision' | 'active' | 'pinned' | 'inFlight' | 'streams' | 'holding'>

/** A site as far as its servers matter. */
export interface BeatingSite {
  readonly name: string
  readonly gate: { readonly active: boolean }
  beat (): SiteBeat
  /** The requests that the present state did not let in. */
  older (): readonly unknown[]
  /** Reads the store now. */
  refresh (): Promise<void>
  /** Calls `listener` whenever the gate was replaced. */
  onGate (listener: () => void): void
}

export interface Servers {
  /** The first beat. */
  start (): Promise<void>
  /** @throws FST_ERR_MAINTENANCE_STORE */
  list (site: string): Promise<ServerStatus[]>
  /** Takes this server from the list. */
  stop (): Promise<void>
}

/** Tells the store every few seconds, and at every change, that this server lives and how far it is. Nothing of it is on the way of a request. */
export function createServers (store: MaintenanceStore, sites: readonly BeatingSite[], log: Log): Servers {
  const process = { id: randomUUID(), host: hostname(), pid: globalThis.process.pid, version: VERSION, startedAt: new Date().toISOString() }
  const beaters = sites.map(site => createBeater(store, site, process.id, () => describe(site), log))

  function describe (site: BeatingSite): ServerStatus {
    return { ...process, ...site.beat(), seenAt: new Date(timeOf(store)).toISOString() }
  }

  return {
    async start () {
      await Promise.all(beaters.map(beater => beater.start()))
    },
    async list (name) {
      const others = (await readServers(store, name)).filter(server => server.id !== process.id)
      const own = sites.filter(site => site.name === name).map(describe)
      return inOrder([...others, ...own])
    },
    async stop () {
      await Promise.all(beaters.map(beater => beater.stop()))
    }
  }
}

interface Beater {
  start (): Promise<void>
  stop (): Promise<void>
}

function createBeater (store: MaintenanceStore, site: BeatingSite, id: string, describe: () => ServerStatus, log: Log): Beater {
  const stopping = new AbortController()
  /** Each beat says what is true when it is sent. */
  const beat = createSharedRun(async () => {
    if (!stopping.signal.aborted) await send(() => JSON.stringify(describe()), TTL)
  })
  let watching = false
  let problem: string | null = null
  let timer: NodeJS.Timeout | undefined

  async function send (entry: () => string, ttl: number): Promise<void> {
    try {
      await withTimeout(Promise.resolve(store.beat?.(site.name, id, entry(), ttl)), BEAT_TIMEOUT)
      tell(null)
    } catch (error) {
      tell(messageOf(error))
    }
  }

  /** Once for each change: a store that is down is told of by whoever reads it. */
  function tell (error: string | null): void {
    if (error !== null && problem === null) log.warn({ site: site.name, error }, `maintenance: other servers of site '${site.name}' cannot see this one, and do not wait for it: ${error}`)
    problem = error
  }

  /** Whoever waits for this server learns at once when its last older request has ended. */
  async function watch (): Promise<void> {
    if (watching) return
    watching = true
    let told = performance.now()
    while (isHeldUp(site) && !stopping.signal.aborted) {
      await sleep(LOOK_EVERY, undefined, { ref: false })
      if (isHeldUp(site) && performance.now() - told < PROGRESS_EVERY) continue
      told = performance.now()
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
      if (store.beat === undefined) return
      site.onGate(onChange)
      timer = setInterval(beat, BEAT_EVERY * (0.9 + 0.2 * Math.random())).unref()
      // whoever changes the state, and then looks who is there, finds this server; or this server finds the change
      await withTimeout(beat().then(() => site.refresh()), PATIENCE).catch(() => {})
    },
    async stop () {
      clearInterval(timer)
      stopping.abort()
      if (store.beat === undefined) return
      // behind the beat that is under way
      await beat()
      await send(() => '', 0)
    }
  }
}

const isHeldUp = (site: BeatingSite): boolean => site.gate.active && site.older().length > 0

const count = integer(0, Number.MAX_SAFE_INTEGER)
const time = { expected: 'a time', test: (value: unknown) => typeof value === 'string' && !Number.isNaN(Date.parse(value)) }

const SERVER: Shape = {
  id: text(100),
  host: text(300),
  pid: count,
  version: text(100),
  site: text(64),
  revision: count,
  active: bool,
  pinned: bool,
  inFlight: count,
  streams: count,
  holding: { expected: 'numbers by route', test: value => isObject(value) && Object.values(value).every(count.test) },
  startedAt: time,
  seenAt: time
}

const inOrder = (servers: ServerStatus[]): ServerStatus[] => servers.sort((a, b) => a.startedAt < b.startedAt ? -1 : 1)

/**
 * The servers that a store knows, oldest first; what cannot be understood is none.
 * @throws FST_ERR_MAINTENANCE_STORE
 */
export async function readServers (store: MaintenanceStore, site: string): Promise<ServerStatus[]> {
  const entries = store.beats === undefined ? [] : await readList(store.beats(site))
  return inOrder(entries.map(parseServer).filter(server => server !== null && server.site === site) as ServerStatus[])
}

/** What a server tells of itself is a few hundred characters, and some for each route that still runs. */
const ENTRY_MAX = 256 * 1024

/** What a later version says on top of it is left out: its servers must be seen, too. */
function parseServer (entry: string): ServerStatus | null {
  try {
    if (entry.length > ENTRY_MAX) return null
    const told = JSON.parse(entry)
    const server = Object.fromEntries(Object.keys(SERVER).map(name => [name, told[name]]))
    return isWhole(SERVER, server) ? server as unknown as ServerStatus : null
  } catch {
    return null
  }
}
