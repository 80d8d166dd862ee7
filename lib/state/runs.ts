import { setMaxListeners } from 'node:events'
import { withTimeout } from '../util/timeout.ts'
import type { Log } from '../util/log.ts'
import { run, type RunChange, type RunParts } from './run.ts'

/** The runs whose work is done by this server. */
export interface Runs {
  run<T> (parts: Omit<RunParts<T>, 'closing' | 'log'>, change: RunChange): Promise<T>
  /** Aborts all runs, and waits until they have left their sites, for a bounded time. */
  close (): Promise<void>
}

/** How long closing waits for runs, ms. */
const CLOSE_TIMEOUT = 5000

export function createRuns (log: Log): Runs {
  const closing = new AbortController()
  // each run listens; without this, Node warns of a leak
  setMaxListeners(0, closing.signal)
  const running = new Map<Promise<unknown>, string>()
  return {
    run (parts, change) {
      const result = run({ ...parts, closing: closing.signal, log }, change)
      running.set(result, parts.site.name)
      result.catch(() => {}).finally(() => running.delete(result))
      return result
    },
    async close () {
      closing.abort()
      await withTimeout(Promise.allSettled(running.keys()), CLOSE_TIMEOUT).catch(() => {
        const sites = [...new Set(running.values())].join(', ')
        log.error(
          `maintenance: the server closes although ${running.size} runs have not ended; they keep closed: ${sites}`
        )
      })
    }
  }
}
