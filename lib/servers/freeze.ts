import type { EventEmitter } from 'node:events'
import { instant } from './fence.ts'

/** How often the clocks are looked at, ms. */
const TICK = 1000
/** A process that did not run for this long may have missed a change, ms. */
const FROZEN_AFTER = 5000

/**
 * Calls `onWake` when this process did not run for a while: it was stopped, its machine was, or something blocked it. A
 * new connection asks, too: it may be handled before any timer. What arrives on connections from before is not held up.
 * @returns the way to stop
 */
export function watchFreezes (server: EventEmitter, onWake: () => void): () => void {
  let last = instant()

  function look (): void {
    const now = instant()
    const passed = Math.max(now.monotonic - last.monotonic, now.wall - last.wall)
    last = now
    if (passed >= FROZEN_AFTER) onWake()
  }

  const timer = setInterval(look, TICK).unref()
  server.on('connection', look)
  return () => {
    clearInterval(timer)
    server.off('connection', look)
  }
}
