import { setTimeout as sleep } from 'node:timers/promises'
import type { DrainErrorDetails, DrainOptions } from '../../types/index.ts'
import { DrainError } from '../errors.ts'
import { fail } from '../state/change.ts'
import { duration, toDuration } from '../util/duration.ts'
import { checkShape, type Shape } from '../util/validate.ts'
import { countByName, countsInWords, type Activity, type Task } from './activity.ts'

/** How often a drain looks at what is running, ms. That needs no listener on each request. */
const POLL_INTERVAL = 20

const HOUR = 3_600_000
export const timeout = duration(1, HOUR)

const OPTIONS: Shape = {
  timeout,
  signal: { expected: 'an AbortSignal', test: value => value instanceof AbortSignal }
}

export function drainError (message: string, details: DrainErrorDetails): Error {
  return Object.assign(new DrainError(message), details)
}

/**
 * Waits until nothing from before is running. Reads that a read-only site lets through in the meantime don't count.
 * @throws FST_ERR_MAINTENANCE_DRAIN if time runs out or the site opens; the reason of the signal
 */
export async function drained (
  { tasks, tasksBefore }: Activity, isClosed: () => boolean, options: DrainOptions = {}
): Promise<void> {
  checkShape(OPTIONS, options, (name, value, expected, known) => fail(name || 'the options', value, expected, known))
  const { timeout, signal } = options
  const deadline = performance.now() + (timeout === undefined ? Infinity : toDuration(timeout))
  const known = new Set(tasks())
  let closed = isClosed()
  for (;;) {
    signal?.throwIfAborted()
    closed ||= isClosed()
    if (closed && !isClosed()) throw drainError('the site opened before its requests had ended', detailsOf(tasks()))
    const before = new Set(tasksBefore())
    const running = tasks().filter(task => known.has(task) || before.has(task))
    if (running.length === 0) return
    if (performance.now() >= deadline) {
      const limit = typeof timeout === 'number' ? `${timeout} ms` : timeout
      throw drainError(`still running after ${limit}: ${countsInWords(countByName(running))}`, detailsOf(running))
    }
    await sleep(POLL_INTERVAL, undefined, signal === undefined ? {} : { signal }).catch(() => {})
  }
}

const detailsOf = (running: Task[]): DrainErrorDetails => ({ inFlight: running.length, routes: countByName(running) })
