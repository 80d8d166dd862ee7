import { messageOf } from '../errors.ts'
import type { Log } from '../util/log.ts'

/** How often the clock is checked while a transition is expected, ms. */
const CHECK_EVERY = 1000

export interface Transitions {
  /** @param at when the next window starts or ends (ms); `null`: none does */
  expect (at: number | null): void
  close (): void
}

/**
 * Calls `onTransition` when the time has come. It checks the clock every second, because timers stand still while the
 * machine sleeps and cannot wait for more than 2^31 ms.
 */
export function createTransitions (clock: () => number, onTransition: () => void, log: Log): Transitions {
  let timer: NodeJS.Timeout | undefined
  let closed = false

  function expect (at: number | null): void {
    clearTimeout(timer)
    if (at === null || closed) return
    timer = setTimeout(() => check(at), Math.min(Math.max(at - clock(), 0), CHECK_EVERY)).unref()
  }

  function check (at: number): void {
    try {
      if (clock() < at) return expect(at)
      onTransition()
      // until the state says what comes next: the transition may need a read of the store that fails
      timer = setTimeout(() => check(at), CHECK_EVERY).unref()
    } catch (error) {
      log.error({ err: error }, `maintenance: the clock could not be followed: ${messageOf(error)}`)
    }
  }

  return {
    expect,
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}
