import type { MaintenanceStore } from '../../types/index.ts'
import { isObject } from '../util/validate.ts'
import { messageOf, show } from '../errors.ts'

/** Far in the future, and still a time with a year of four digits: microseconds are caught here, too. */
const TIME_MAX = 2.5e14

const MEMBERS = [
  'read',
  'write',
  'watch',
  'close',
  'appendHistory',
  'listHistory',
  'heartbeat',
  'heartbeats',
  'readAll'
] as const

export interface GuardedStore {
  readonly store: MaintenanceStore
  /** What is wrong with the store's clock; `null`: nothing. */
  readonly clockError: () => string | null
}

/** Wraps a custom store: what it throws synchronously becomes a rejection, and its clock always returns a time. */
export function guardStore (store: MaintenanceStore): GuardedStore {
  const calls = MEMBERS.filter(name => typeof store[name] === 'function')
    .map(name => [name, async (...args: unknown[]) => Reflect.apply(store[name] as () => unknown, store, args)])
  const { now, clockError } = guardClock(store)
  return { store: { ...Object.fromEntries(calls), now }, clockError }
}

/** While the store's clock fails, that of this process goes on from where the store's was last seen. */
function guardClock (store: MaintenanceStore): { now: () => number, clockError: () => string | null } {
  let offset = 0
  let problem: string | null = null

  function now (): number {
    try {
      const time = store.now === undefined ? Date.now() : checkTime(store.now())
      offset = time - Date.now()
      problem = null
      return time
    } catch (error) {
      problem = `the store's clock failed, this server's is used: ${messageOf(error)}`
      return Date.now() + offset
    }
  }

  return { now, clockError: () => problem }
}

function checkTime (time: unknown): number {
  if (typeof time === 'number' && time >= 0 && time <= TIME_MAX) return Math.floor(time)
  // an `async now()` that rejects must not end the process
  if (isObject(time)) Promise.resolve(time).catch(() => {})
  throw new TypeError(`now() returned ${show(time)}, expected milliseconds since 1970`)
}
