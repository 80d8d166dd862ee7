import t from 'tap'
import { checkCancelling, checkOpening, checkSet, checkUpdate } from '../lib/state/change.ts'
import * as edits from '../lib/state/edit.ts'
import {
  NEVER_WRITTEN, parseRecord, serialiseRecord, type StateRecord, type StoredWindow
} from '../lib/state/record.ts'
import type { Schedule } from '../lib/state/schedule.ts'
import * as windows from '../lib/state/window.ts'
import { createRandom } from './fixtures/random.ts'

// Compares random changes of a site with a plain list of its windows. MAINTENANCE_SEQUENCES=100000 runs more.

const MINUTE = 60_000
const SEQUENCES = Number(process.env.MAINTENANCE_SEQUENCES ?? 500)
const STEPS = 14
const MODES = ['full', 'hold', 'read-only'] as const
/** Far enough in the past for the clock to advance. */
const BEGIN = Date.UTC(2026, 0, 5, 12)

/** Every four hours for twenty minutes: a faster version of the option `schedule`. */
const schedule: Schedule = {
  current: now => now % (240 * MINUTE) < 20 * MINUTE ? [scheduledAt(now - now % (240 * MINUTE))] : [],
  next: now => [scheduledAt(now - now % (240 * MINUTE) + 240 * MINUTE)]
}

function scheduledAt (start: number): StoredWindow {
  const at = new Date(start).toISOString()
  return {
    ...windows.assumedWindow('store', start),
    id: at,
    kind: 'scheduled',
    startsAt: at,
    endsAt: new Date(start +
    20 * MINUTE).toISOString(),
    mode: 'read-only'
  }
}

/** A window in the model. */
interface ModelWindow {
  id: string
  kind: string
  start: number
  end: number
  mode: string
  message: string | null
  lease: number
  stays: boolean
  created: number
}

type Implementation = typeof edits & typeof windows
type Random = ReturnType<typeof createRandom>

/** The state as a plain list. */
class Model {
  list: ModelWindow[] = []
  openedAt = -Infinity
  created = 0

  active (now: number): ModelWindow[] {
    const stored = this.list.filter(
      window => window.kind === 'run' ? window.lease > now || window.stays : window.start <= now && now < window.end
    )
    return [...stored, ...this.scheduled(now)].sort((a, b) =>
      MODES.indexOf(a.mode as never) - MODES.indexOf(b.mode as never) || b.start - a.start || b.created - a.created)
  }

  scheduled (now: number): ModelWindow[] {
    const start = Math.floor(now / (240 * MINUTE)) * 240 * MINUTE
    if (now >= start + 20 * MINUTE || start <= this.openedAt) return []
    return [{
      id: '',
      kind: 'scheduled',
      start,
      end: start +
      20 * MINUTE,
      mode: 'read-only',
      message: null,
      lease: Infinity,
      stays: false,
      created: -1
    }]
  }

  ahead (now: number): ModelWindow[] {
    return this.list.filter(window => window.kind !== 'run' && window.start > now)
  }

  forget (now: number): void {
    for (const window of this.list) {
      // a site that must stay closed does so without its process
      if (window.kind === 'run' && window.lease <= now && window.stays) {
        Object.assign(window, { kind: 'now', lease: Infinity, end: Infinity, stays: false })
      }
    }
    this.list = this.list.filter(window => window.kind === 'run' ? window.lease > now : window.end > now)
  }

  add (window: Partial<ModelWindow> & { id: string, kind: string, start: number }): void {
    this.list.push({
      end: Infinity, mode: 'full', message: null, lease: Infinity, stays: false, created: this.created++, ...window
    })
  }
}

/** Plays one sequence of actions of operators, runs and the clock. @returns the difference, or `null` */
function play (random: Random, implementation: Implementation): string | null {
  const {
    closeSite,
    openSite,
    updateWindow,
    cancelWindow,
    enterRun,
    renewRun,
    leaveRun,
    makeRecord,
    activeWindows,
    windowsAhead,
    closedSince,
    momentOf,
    settle
  } = implementation
  const model = new Model()
  let record: StateRecord = NEVER_WRITTEN
  let now = BEGIN + random(600) * MINUTE
  /** When the site closed, by the model. */
  let since: number | null = model.scheduled(now)[0]?.start ?? null
  const log: string[] = []
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T

  function apply (edit: edits.Edit): { window: StoredWindow | undefined, rejected: string | null } {
    const context = { record: settle(record, momentOf(now)), schedule, moment: momentOf(now) }
    try {
      const edited = edit(context)
      if (edited === null) return { window: undefined, rejected: null }
      record = parseRecord(serialiseRecord(makeRecord(context, edited, record.revision + 1)), now)
      return { window: record.windows.find(({ id }) => id === edited.change?.window), rejected: null }
    } catch (error) {
      return { window: undefined, rejected: String((error as { code: string }).code) }
    }
  }

  const actions: Record<string, () => string | null> = {
    close () {
      const mode = pick(MODES)
      const minutes = pick([0, 10, 45])
      const { window } = apply(closeSite(checkSet({ mode, ...(minutes > 0 ? { endsAt: `+${minutes}m` } : {}) })))
      model.forget(now)
      const same = model.list.find(({ kind }) => kind === 'now')
      const end = minutes > 0 ? now + minutes * MINUTE : Infinity
      if (same !== undefined) {
        Object.assign(same, { mode, end, message: null })
        model.list = model.list.filter(window => window === same || window.kind !== 'now')
        return window?.id === same.id ? null : 'an active closure that is replaced must keep its id'
      }
      model.add({ id: window?.id ?? '?', kind: 'now', start: now, end, mode })
      return null
    },
    announce () {
      const mode = pick(MODES)
      const [start, length] = [pick([5, 30, 300]), pick([0, 10, 60])]
      model.forget(now)
      const { window, rejected } = apply(
        closeSite(checkSet({ mode, startsAt: `+${start}m`, ...(length > 0 ? { endsAt: `+${length}m` } : {}) }))
      )
      if (rejected !== null) {
        return model.list.filter(({ kind }) => kind === 'planned').length >= 20
          ? null
          : `announcing was rejected: ${rejected}`
      }
      const begin = now + start * MINUTE
      model.add({
        id: window?.id ?? '?', kind: 'planned', start: begin, end: length > 0 ? begin + length * MINUTE : Infinity, mode
      })
      return null
    },
    open () {
      const force = random(2) === 0
      model.forget(now)
      const { rejected } = apply(openSite(checkOpening({ force })))
      const runs = model.list.some(({ kind }) => kind === 'run')
      if (runs && !force) return rejected === 'FST_ERR_MAINTENANCE_RUNNING' ? null : `open beside a run: ${rejected}`
      if (rejected !== null) return `open: ${rejected}`
      model.list = model.ahead(now)
      model.openedAt = now
      return null
    },
    extend () {
      model.forget(now)
      const { rejected } = apply(updateWindow(checkUpdate({ endsAt: '+30m' })))
      const stored = model.list.filter(({ kind }) => kind === 'planned')
      const active = [...model.active(now)].filter(({ kind }) => kind === 'planned' || kind === 'scheduled')
      const candidates = model.active(now).length > 0 ? active : stored
      const target =
        model.list.find(({ kind }) => kind === 'now') ?? (candidates.length === 1 ? candidates[0] : undefined)
      if (target === undefined) {
        return rejected === 'FST_ERR_MAINTENANCE_CHANGE' ? null : `extend without a target: ${rejected}`
      }
      if (rejected !== null) return `extend: ${rejected}`
      const base = Math.max(target.end === Infinity ? -Infinity : target.end, target.start > now ? target.start : now)
      if (target.kind !== 'scheduled') target.end = base + 30 * MINUTE
      // a scheduled window is not stored: a closure takes its place
      else {
        model.add({
          id: record.windows.at(-1)?.id ??
        '?',
          kind: 'now',
          start: target.start,
          end: base + 30 * MINUTE,
          mode: target.mode
        })
      }
      return null
    },
    soften () {
      const target = pick([...model.list, undefined])
      if (target === undefined) return null
      model.forget(now)
      const { rejected } = apply(updateWindow(checkUpdate({ mode: 'read-only', message: 'soft' }), target.id))
      if (!model.list.includes(target)) {
        return rejected === 'FST_ERR_MAINTENANCE_CHANGE' ? null : `a window that is over was changed: ${rejected}`
      }
      Object.assign(target, { mode: 'read-only', message: 'soft' })
      return rejected
    },
    cancel () {
      model.forget(now)
      const planned = model.list.filter(({ kind }) => kind === 'planned')
      const target = pick([...planned, undefined])
      checkCancelling({})
      const { rejected } = apply(cancelWindow(target?.id, null))
      const meant = target ?? (planned.length === 1 ? planned[0] : undefined)
      if (meant === undefined) {
        return rejected === 'FST_ERR_MAINTENANCE_CHANGE' ? null : `cancel of nothing: ${rejected}`
      }
      model.list = model.list.filter(window => window !== meant)
      return rejected
    },
    enter () {
      const lease = pick([null, 5 * MINUTE])
      const stays = random(5) === 0
      const mode = pick(MODES)
      const id = `run-${model.created}`
      const { rejected } = apply(enterRun(checkSet({ mode }), { id, host: 'h', pid: 1, lease, stayClosed: stays }))
      model.forget(now)
      model.add({ id, kind: 'run', start: now, mode, lease: lease === null ? Infinity : now + lease, stays })
      return rejected
    },
    renew () {
      model.forget(now)
      const target = pick(model.list.filter(({ kind, lease }) => kind === 'run' && lease !== Infinity))
      if (target === undefined) return null
      // the window may have been removed by a write after its lease had ended
      const known = record.windows.some(({ id }) => id === target.id)
      const at = record.at
      apply(renewRun({ id: target.id, lease: 5 * MINUTE }))
      if (record.at !== at) return 'renewing a lease must not be a change'
      if (known) target.lease = now + 5 * MINUTE
      model.forget(now)
      return null
    },
    leave () {
      model.forget(now)
      const target = pick(model.list.filter(({ kind }) => kind === 'run'))
      if (target === undefined) return null
      const failed = random(2) === 0
      const known = record.windows.some(({ id }) => id === target.id)
      apply(leaveRun(target.id, failed))
      if (!known) return null
      if (failed && target.stays) Object.assign(target, { kind: 'now', lease: Infinity, end: Infinity })
      else model.list = model.list.filter(window => window !== target)
      model.forget(now)
      return null
    },
    wait () { return null }
  }

  for (let step = 0; step < STEPS; step++) {
    const name = pick(Object.keys(actions))
    // nothing begins in the same millisecond in which something else ends
    now += step + 1
    const was = model.active(now).length > 0
    log.push(`${name}@${Math.floor((now - BEGIN) / MINUTE)}`)
    const wrong = actions[name]?.() ?? null
    const is = model.active(now).length > 0
    since = is ? (was && since !== null ? since : now) : null
    const differs = wrong ?? compare()
    if (differs !== null) return `${differs}; ${log.join(' ')}`
    // minute by minute, so that the model sees each start and end
    for (let minutes = pick([0, 1, 6, 40]); minutes > 0; minutes--) {
      now += MINUTE
      since = closedSinceThen(now - MINUTE)
      const differs = compare()
      if (differs !== null) return `${differs} a while later; ${log.join(' ')}`
    }
  }
  return null

  /** When the site closed; the model was last checked at `before`. */
  function closedSinceThen (before: number): number | null {
    if (model.active(now).length === 0) return null
    const ends = [...model.list, ...model.scheduled(before)].flatMap(({ end, lease }) => [end, lease])
    const open = Math.max(...ends.filter(
      end => end > before && end <= now && model.active(end).length === 0
    ), since === null ? before : 0)
    if (open === 0) return since
    return Math.min(...[...model.list, ...model.scheduled(now)].map(({ start }) => start).filter(
      start => start > open && model.active(start).length > 0
    ))
  }

  function compare (): string | null {
    const moment = momentOf(now)
    const seen = activeWindows(record, schedule, moment)
    const expected = model.active(now)
    const ids = (list: { id: string, kind: string }[]): string =>
      list.map(({ id, kind }) => kind === 'scheduled' ? kind : id).join()
    if (ids(seen) !== ids(expected)) return `active: ${ids(seen)}, expected ${ids(expected)}`
    if (seen.map(({ mode }) => mode).join() !== expected.map(({ mode }) => mode).join()) {
      return `modes: ${seen.map(({ mode }) => mode)}`
    }
    if (seen.some(({ message }, i) => message !== expected[i]?.message)) return 'messages differ'
    const stored =
      windowsAhead(record, schedule, now).filter(({ kind }) => kind !== 'scheduled').map(({ id }) => id).sort()
    if (stored.join() !== model.ahead(now).map(({ id }) => id).sort().join()) return `ahead: ${stored}`
    const at = closedSince(record, schedule, moment)
    return at === since
      ? null
      : `closed since ${at === null
      ? at
      : (at - BEGIN) / MINUTE}, expected ${since === null ? since : (since - BEGIN) / MINUTE}`
  }
}

/** @returns the first difference, or `null` */
function playAll (count: number, implementation: Implementation, random: Random): string | null {
  for (let i = 0; i < count; i++) {
    const difference = play(random, implementation)
    if (difference !== null) return `sequence ${i}: ${difference}`
  }
  return null
}

t.test('the state of a site equals a simple list after every step', async t => {
  t.equal(playAll(SEQUENCES, { ...edits, ...windows }, createRandom(t)), null)
})

t.test('planted mistakes are detected', async t => {
  const mutants: Record<string, Partial<Implementation>> = {
    'opening ends future windows': {
      openSite: options => context => ({ ...edits.openSite(options)(context) as edits.Edited, windows: [] })
    },
    'opening ignores runs': { openSite: options => edits.openSite({ ...options, force: true }) },
    'a second closure is added': {
      closeSite: change => context => edits.closeSite(change)({
        ...context, record: { ...context.record, windows: context.record.windows.filter(({ kind }) => kind !== 'now') }
      })
    },
    'a run that ends removes the others': {
      leaveRun: (id, failed) => context => ({ ...edits.leaveRun(id, failed)(context) as edits.Edited, windows: [] })
    },
    'a lease never ends': {
      activeWindows: (record, schedule, moment) => windows.activeWindows(record, schedule, { ...moment, readAt: 0 })
    },
    'an extension counts from now': {
      updateWindow: (change, id) => context => edits.updateWindow(change, id)({
        ...context,
        record: { ...context.record, windows: context.record.windows.map(window => ({ ...window, endsAt: null })) }
      })
    },
    'opening does not end a scheduled window': {
      makeRecord: (context, edited, revision) => ({ ...edits.makeRecord(context, edited, revision), openedAt: null })
    }
  }
  for (const [name, mutant] of Object.entries(mutants)) {
    t.type(playAll(SEQUENCES, { ...edits, ...windows, ...mutant }, createRandom(t)), 'string', name)
  }
})
