import type { FastifyReply } from 'fastify'
import type { ChangeListener, HistoryEntry, MaintenanceChange, MaintenanceStatus } from '../types/index.ts'
import type { Log } from './util/log.ts'
import { createAnnouncer } from './change-log.ts'
import { prepareAnswer, variablesOf, type Answer } from './answer/answer.ts'
import type { Pages } from './answer/page.ts'
import { bypassOf } from './bypass/request.ts'
import { createPass, type Pass } from './bypass/secret.ts'
import { InvalidChangeError, messageOf, PinnedError } from './errors.ts'
import { compileGate, type Gate } from './gate.ts'
import { createHistory } from './state/history.ts'
import { compileRoutes, type RouteMatcher } from './match/route.ts'
import type { Settings } from './options.ts'
import type { CommonParts, Place } from './sites.ts'
import type { Routes } from './route-config.ts'
import { byRoute, type Running } from './drain/in-flight.ts'
import type { SiteBeat } from './servers/heartbeat.ts'
import { checkChange, makeRecord } from './state/change.ts'
import { describe, NEVER_WRITTEN, type StateRecord } from './state/record.ts'
import { createSchedule } from './state/schedule.ts'
import { createSynchroniser, type Known } from './state/sync.ts'
import { timeOf } from './state/time.ts'
import type { Next } from './state/write.ts'
import { isActive, recordThatCounts, turnAfter, upcomingOf, watchTurns } from './state/window.ts'
import type { OpenedStore } from './stores/open.ts'
import { createQueue } from './util/queue.ts'

/** One site of this server: its state, and the gate made of it. */
export interface Site extends Place {
  readonly name: string
  status (): MaintenanceStatus
  set (on: boolean, change?: MaintenanceChange): Promise<MaintenanceStatus>
  /** Writes what `next` makes of the record that stands. @param quiet no transition: neither logged nor kept */
  update (next: Next, quiet?: boolean): Promise<void>
  /** The first read. */
  start (): Promise<void>
  /** @throws FST_ERR_MAINTENANCE_TEMPLATE */
  checkTemplate (): Promise<void>
  /** Reads the store now; nothing to read where the mode is pinned. */
  refresh (): Promise<void>
  /** @throws FST_ERR_MAINTENANCE_STORE */
  history (limit: number): Promise<HistoryEntry[]>
  onChange (listener: ChangeListener): () => void
  /** Calls `listener` whenever the gate was replaced, before anybody else is told. */
  onGate (listener: () => void): void
  /** The plain requests that were let in, and have not ended. */
  requests (): FastifyReply[]
  /** Of these, those that the present state did not let in. */
  older (): FastifyReply[]
  /** The upgraded connections and event streams that were let in, and have not ended. */
  streams (): FastifyReply[]
  /** What other servers are told. */
  beat (): SiteBeat
  close (): void
}

export interface SiteOptions {
  readonly name: string
  readonly index: number
  readonly settings: Settings
  readonly common: CommonParts
  readonly opened: OpenedStore
  readonly pages: Pages
  readonly log: Log
  readonly routes: Routes
  readonly running: Running
}

export async function createSite ({ name, index, settings, common, opened, pages, log, routes: appRoutes, running }: SiteOptions): Promise<Site> {
  const { enabled, response, ignore } = settings
  const schedule = createSchedule(enabled === undefined ? settings.schedule : [])
  const counts = { blocked: 0, ignored: 0, held: 0 }
  const history = createHistory(opened.store, name)
  const announcer = createAnnouncer(name, settings, appRoutes, log)
  const sync = enabled === undefined
    ? createSynchroniser({ ...opened, site: name, fallback: settings.fallback, log, adopt })
    : null

  const clock = () => timeOf(opened.store)
  let known: Known = sync?.known ?? { record: { ...NEVER_WRITTEN, on: enabled === true }, source: 'pinned' }
  /** What counts now: the known record, or a window of the schedule. */
  let shown = known.record
  let answer = await prepare(shown)
  let routes = common.routes
  let pass: Pass | null = null
  let gate = makeGate()
  let unwatch = (): void => {}
  /** Each change begins with what the one before it left. */
  const inTurn = createQueue()
  const gateListeners = new Set<() => void>()

  function prepare (record: StateRecord): Promise<Answer> {
    return prepareAnswer({ site: name, record, response, pages, log, clock })
  }

  function makeGate (): Gate {
    const now = clock()
    return compileGate({ ...common, index, site: name, active: isActive(shown, now), mode: shown.mode, upcoming: upcomingOf(known.record, schedule, now), pass, clock, routes, answer })
  }

  async function adopt (next: Known): Promise<void> {
    if (next.source === 'store' && next.record.revision > 0 && !isRenewal(known.record, next.record)) history.remember(next.record)
    await inTurn(() => change(next))
    unwatch()
    unwatch = watchTurns(() => turnAfter(known.record, schedule, clock()), clock, turn)
  }

  /** A window began or ended. */
  function turn (): void {
    inTurn(() => change(known))
      .catch(error => log.error({ err: error }, `maintenance: site '${name}' could not follow the clock: ${messageOf(error)}`))
  }

  async function change (next: Known): Promise<void> {
    const counting = recordThatCounts(next.record, schedule, clock())
    const nextAnswer = counting === shown ? answer : await prepare(counting)
    const before = { status: status(), active: gate.active, record: known.record }
    if (nextAnswer !== answer) nextAnswer.ready.catch(error => log.error({ err: error }, `maintenance: the template of site '${name}' failed, serving the bundled page: ${messageOf(error)}`))
    if (counting.ignoreRoutes !== shown.ignoreRoutes) routes = routesOf(counting)
    known = next
    if (counting.bypass !== shown.bypass || counting.windowId !== shown.windowId) pass = passOf(counting)
    shown = counting
    answer = nextAnswer
    gate = makeGate()
    for (const listener of gateListeners) listener()
    // that the store was reached and holds nothing is no change
    if (gate.active !== before.active || next.record.revision !== before.record.revision) {
      announcer.announce(status(), before.status, shown, isRenewal(before.record, next.record))
    }
  }

  /** A template that is asked for its data by each request cannot be tried without one. */
  async function checkTemplate (record: StateRecord): Promise<void> {
    if (pages.custom === null || typeof response.data === 'function') return
    await pages.custom({ ...response.data, ...variablesOf(name, record, response, clock()) })
  }

  function passOf ({ windowId, bypass }: StateRecord): Pass | null {
    return common.bypass === null || windowId === null || bypass === null ? null : createPass(common.bypass.settings, windowId, bypass)
  }

  async function update (next: Next, quiet = false): Promise<void> {
    if (sync === null) throw new PinnedError(enabled)
    const now = clock()
    const tried = typeof next === 'function' ? next(known.record, now) : next
    if (!quiet && tried?.on === true) await checkTemplate(makeRecord(tried, 0, null, now))
    await sync.set(next, quiet)
    // set means set: whoever asks from now on sees the page that was asked for
    await answer.ready.catch(() => {})
  }

  function routesOf ({ ignoreRoutes }: StateRecord): RouteMatcher {
    if (ignoreRoutes.length === 0) return common.routes
    return compileRoutes([...common.unrouted, ...ignore.routes, ...ignoreRoutes.map(route => route.pattern)], common.router)
  }

  function status (): MaintenanceStatus {
    const { kind } = opened
    const { connected, lastReadAt, error } = sync?.health ?? { connected: false, lastReadAt: null, error: null }
    return {
      ...describe(name, shown, gate.active, gate.upcoming),
      source: known.source,
      store: { kind, connected, lastReadAt, error },
      counts: { blocked: counts.blocked, ignored: counts.ignored, wrongSecrets: common.bypass?.guesses.wrong ?? 0 },
      held: counts.held,
      inFlight: running.requests(name).length,
      streams: running.streams(name).length
    }
  }

  function beat (): SiteBeat {
    return { site: name, revision: shown.revision, active: gate.active, pinned: sync === null, inFlight: running.requests(name).length, streams: running.streams(name).length, holding: byRoute(running.older(name)) }
  }

  return {
    name,
    counts,
    get gate () { return gate },
    status,
    update,
    async set (on, change) {
      const checked = checkChange(on, change, clock())
      if (typeof checked.secret === 'string' && common.bypass === null) throw new InvalidChangeError("bypass links are not enabled. Add bypass: {} to the plugin's options")
      await update(checked)
      return typeof checked.secret === 'string' ? { ...status(), bypass: bypassOf(checked.secret, common.bypass?.path) } : status()
    },
    onChange: announcer.listen,
    onGate (listener) { gateListeners.add(listener) },
    requests: () => running.requests(name),
    older: () => running.older(name),
    streams: () => running.streams(name),
    beat,
    async start () {
      await sync?.start()
      await inTurn(() => {})
    },
    checkTemplate: () => checkTemplate(known.record),
    async refresh () { await sync?.refresh() },
    history: history.read,
    close () {
      unwatch()
      sync?.close()
    }
  }
}

/** The lease of a `run` moved on, and nothing else. */
function isRenewal (before: StateRecord, after: StateRecord): boolean {
  const ids = ({ runs }: StateRecord) => runs.map(run => run.id).sort().join()
  return after.on && before.windowId === after.windowId && after.runs.length > 0 && ids(before) === ids(after)
}
