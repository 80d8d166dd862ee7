import { createCounts, type Counts } from './counts.ts'
import { messageOf, PinnedError, StoreError } from './errors.ts'
import type { Gate } from './gate.ts'
import type { Settings } from './options.ts'
import type { Fence } from './servers/fence.ts'
import type { GateCompiler } from './site-gate.ts'
import type { Edit } from './state/edit.ts'
import { NEVER_WRITTEN, type StoredWindow } from './state/record.ts'
import { createSchedule } from './state/schedule.ts'
import { createSynchroniser, type LocalState, type StoreHealth } from './state/sync.ts'
import { timeOf } from './state/time.ts'
import { createTransitions } from './state/transitions.ts'
import { isTightened, viewOf, type StateView } from './state/view.ts'
import { nextTransition } from './state/window.ts'
import type { OpenedStore } from './stores/open.ts'
import type { Log } from './util/log.ts'
import { createQueue } from './util/queue.ts'

/** What requests ask of a site: the gate as it is now, and the counters. */
export interface SiteContext {
  readonly gate: Gate
  readonly counts: Counts
}

/** One site of this server: its state, and the gate that is compiled from it. */
export interface Site extends SiteContext {
  readonly name: string
  /** The same in an object without getters, which V8 reads several times faster. */
  readonly context: SiteContext
  readonly view: StateView
  readonly health: Readonly<StoreHealth>
  /** The runs whose work is done by this process. */
  readonly ownRuns: Set<string>
  /** Writes the store, then this server. Calls take effect in their order. @returns the state that was written */
  write (edit: Edit, options?: WriteOptions): Promise<StateView>
  /** Reads the store for the first time. */
  start (): Promise<void>
  /** Reads the store now; a pinned server has nothing to read. */
  refresh (): Promise<void>
  /** @throws FST_ERR_MAINTENANCE_TEMPLATE */
  checkTemplate (): Promise<void>
  /** Calls `listener` when the gate was replaced, before all others. */
  onGate (listener: () => void): void
  /** Calls `listener` after each change. @returns a function that removes it */
  onChange (listener: SiteListener): () => void
  close (): void
}

export interface WriteOptions {
  readonly expectedRevision?: number | undefined
}

export type SiteListener = (now: StateView, previous: StateView) => void

/** A call settles within this time, ms, also behind others. */
const WRITE_TIMEOUT = 1900

export interface SiteParts {
  readonly name: string
  readonly settings: Settings
  readonly opened: OpenedStore
  readonly gates: GateCompiler
  /** `null`: the option is not set, or this server is pinned. */
  readonly fence: Fence | null
  readonly log: Log
}

export async function createSite ({ name, settings, opened, gates, fence, log }: SiteParts): Promise<Site> {
  const { pinned, whenUnknown } = settings
  const schedule = createSchedule(pinned === undefined ? settings.schedule : [])
  const clock = () => timeOf(opened.store)
  const ownRuns = new Set<string>()
  const gateListeners = new Set<() => void>()
  const listeners = new Set<SiteListener>()
  const inTurn = createQueue()
  const inCallOrder = createQueue()
  const sync = pinned === undefined ? createSynchroniser({ ...opened, site: name, log, adopt, onRead }) : null
  let readAt = 0
  let known: LocalState = sync?.local ?? { record: NEVER_WRITTEN, source: 'pinned' }
  let view = look(known)
  let epoch = view.active.length > 0 ? 1 : 0
  const context = { gate: await gates.compile({ ...view, epoch }), counts: createCounts() }
  let fencedGate = await compileFenced()
  const transitions = createTransitions(clock, onTransition, log)
  fence?.onChange(onFence)

  /** The state as it is at this moment. */
  function look ({ record, source }: LocalState, isFenced = fence?.isUp === true, now = clock()): StateView {
    const assumed =
      source === 'pinned'
        ? pinned === 'closed'
        : source === 'unreadable' || (source === 'unknown' && whenUnknown === 'closed')
    const moment = { now, readAt, ownRuns }
    return viewOf({ record, source: isFenced ? 'fenced' : source, assumed: assumed || isFenced, schedule, moment })
  }

  /** What the fence puts in front of requests: it cannot wait until that is compiled. `null`: there is no fence. */
  async function compileFenced (): Promise<Gate | null> {
    return fence === null ? null : gates.compile({ ...look(known, true), epoch: epoch + 1 })
  }

  /** The fence goes up at once. Before it goes down, the state was read. */
  function onFence (): void {
    if (fence?.isUp !== true) return reconsider()
    const previous = view
    view = look(known)
    context.gate = fencedGate as Gate
    epoch = context.gate.epoch
    tell(previous)
  }

  function adopt (next: LocalState): Promise<void> {
    return inTurn(() => apply(next))
  }

  function onRead (at: number): void {
    readAt = Math.max(readAt, at)
    reconsider()
  }

  /** A lease can only end by a read of the store. */
  function onTransition (): void {
    reconsider()
    sync?.refresh()
  }

  /** Did a window begin or end, or can a lease be known to have ended? */
  function reconsider (): void {
    inTurn(async () => {
      if (idsOf(look(known)) !== idsOf(view)) await apply(known)
    }).catch(error => {
      /* c8 ignore next -- nothing above is known to fail; this is the last line of defence */
      log.error({ err: error }, `maintenance: site '${name}' could not follow the clock: ${messageOf(error)}`)
    })
  }

  async function apply (next: LocalState): Promise<void> {
    const previous = view
    const lookedAt = clock()
    const nextView = look(next, undefined, lookedAt)
    const tightened = isTightened(previous.active, nextView.active)
    const nextGate = await gates.compile({ ...nextView, epoch: tightened ? epoch + 1 : epoch })
    known = next
    epoch = Math.max(epoch, nextGate.epoch)
    fencedGate = await compileFenced()
    // the fence may have gone up in the meantime
    const isFenced = fence?.isUp === true
    context.gate = isFenced ? fencedGate as Gate : nextGate
    epoch = context.gate.epoch
    view = isFenced ? look(next, true, lookedAt) : nextView
    // a window may have begun or ended since: then the next transition is at once
    transitions.expect(nextTransition(view.record, schedule, lookedAt))
    tell(previous)
  }

  function tell (previous: StateView): void {
    for (const listener of gateListeners) listener()
    for (const listener of listeners) listener(view, previous)
  }

  function write (edit: Edit, { expectedRevision }: WriteOptions = {}): Promise<StateView> {
    if (sync === null) return Promise.reject(new PinnedError(pinned))
    const called = performance.now()
    return inCallOrder(async () => {
      const timeout = WRITE_TIMEOUT - (performance.now() - called)
      if (timeout <= 0) throw new StoreError(`no answer within ${WRITE_TIMEOUT} ms`)
      await tryTemplate(edit)
      const record = await sync.write({ edit, expectedRevision, schedule, ownRuns, timeout })
      // visitors who come from now on get the page that was asked for
      await context.gate.outcomes['route-on'].answer.ready.catch(() => {})
      return look({ record, source: 'store' })
    })
  }

  /** A template that fails must fail the change. Whatever else is wrong with it shows when it is written. */
  async function tryTemplate (edit: Edit): Promise<void> {
    const window = triedWindow(edit)
    if (window !== null) await gates.checkTemplate(window)
  }

  function triedWindow (edit: Edit): StoredWindow | null {
    try {
      const edited = edit({ record: view.record, schedule, moment: { now: clock(), readAt, ownRuns } })
      return edited?.windows.find(({ id }) => id === edited.change?.window) ?? null
    } catch {
      return null
    }
  }

  return {
    name,
    context,
    get gate () { return context.gate },
    counts: context.counts,
    get view () { return view },
    health: sync?.health ?? { connected: false, lastReadAt: null, error: null },
    ownRuns,
    write,
    async start () {
      await sync?.start()
      await inTurn(() => {})
    },
    async refresh () {
      await sync?.refresh()
      await inTurn(() => {})
    },
    checkTemplate: () => gates.checkTemplate(view.active[0] ?? null),
    onGate (listener) { gateListeners.add(listener) },
    onChange (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    close () {
      transitions.close()
      sync?.close()
    }
  }
}

/** Which windows are active, and which are ahead. A run that has lost its lease may have become another kind. */
const idsOf = ({ active, ahead }: StateView): string =>
  [active, ahead].map(windows => windows.map(({ id, kind }) => `${id} ${kind}`).join()).join(' | ')
