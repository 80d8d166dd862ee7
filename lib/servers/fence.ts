import { InvalidOptionError } from '../errors.ts'
import type { OpenedStore } from '../stores/open.ts'
import type { Log } from '../util/log.ts'
import { keepsServers } from './server-list.ts'

/** The option `fence`, with its defaults, in ms. */
export interface FenceSettings { readonly after: number }

/** Closes this server while it may be unknown to the others. */
export interface Fence extends FenceSettings {
  readonly isUp: boolean
  /** Is it up by now? To be asked for each request: after a freeze, no timer has run yet. */
  check (): boolean
  /**
   * A heartbeat that was sent at this instant was accepted. An up fence stays up: the state may have changed in the
   * meantime.
   */
  extend (sentAt: Instant): void
  /** The state was read after the last accepted heartbeat. */
  lower (): void
  /** Calls `listener` when it goes up or down, in the same tick. */
  onChange (listener: () => void): void
  close (): void
}

/** By two clocks: some pauses stop the one that nobody sets, and the other one may be set back. ms */
export interface Instant { readonly monotonic: number, readonly wall: number }

export const instant = (): Instant => ({ monotonic: performance.now(), wall: Date.now() })

/**
 * @returns `null`: the option is not set, or this server is pinned
 * @throws FST_ERR_MAINTENANCE_OPTION
 */
export function openFence (
  { fence, pinned }: { readonly fence: FenceSettings | null; readonly pinned: string | undefined },
  { store, kind }: OpenedStore,
  log: Log
): Fence | null {
  if (fence === null || pinned !== undefined) return null
  if (!keepsServers(store)) {
    const what =
      kind === 'memory'
        ? "the store 'memory' is known to this process only"
        : 'this store has no heartbeat() and heartbeats()'
    throw new InvalidOptionError(
      `option 'fence' needs a store that keeps servers, and ${what}. Remove the option, or use another store`
    )
  }
  log.info(
    `maintenance: this server closes itself after ${fence.after} ms without contact to the store: losing the store closes the site (option fence)`
  )
  return createFence(fence, log)
}

/** It is up until the first contact. */
export function createFence ({ after }: FenceSettings, log: Log): Fence {
  const listeners = new Set<() => void>()
  let contact: Instant | null = null
  let isUp = true
  let timer: NodeJS.Timeout | undefined

  function silence (): number {
    return contact === null ? Infinity : Math.max(performance.now() - contact.monotonic, Date.now() - contact.wall)
  }

  function check (): boolean {
    if (!isUp && silence() >= after) set(true)
    return isUp
  }

  function set (up: boolean): void {
    isUp = up
    if (up) log.warn(`maintenance: this server is closed: no heartbeat was accepted for ${after} ms (option fence)`)
    else log.info('maintenance: the fence is down: other servers can see this one')
    for (const listener of listeners) listener()
  }

  function expect (): void {
    clearTimeout(timer)
    /* c8 ignore next -- a timer may fire a moment early */
    timer = setTimeout(() => { if (!check()) expect() }, Math.max(after - silence(), 1)).unref()
  }

  return {
    after,
    get isUp () { return isUp },
    check,
    extend (sentAt) {
      contact = sentAt
      if (!isUp) expect()
    },
    lower () {
      if (!isUp || silence() >= after) return
      expect()
      set(false)
    },
    onChange (listener) { listeners.add(listener) },
    close () { clearTimeout(timer) }
  }
}
