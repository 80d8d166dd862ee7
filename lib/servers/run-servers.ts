import type { RunningRuns } from '../../types/index.ts'
import { codeOf } from '../errors.ts'
import { runningError } from '../state/running-error.ts'
import { withTimeout } from '../util/timeout.ts'
import { LOST_AFTER, silenceOf, type ServerEntry } from './entry.ts'

type Run = RunningRuns['runs'][number]

/** The refusal does not wait longer for the servers, ms. */
const READ_TIMEOUT = 1000

/**
 * Adds to the error of a site that runs keep closed whether their servers are still there. Other errors stay as they
 * are.
 * @param now the time of the store, ms
 */
export async function withServersOfRuns (
  error: unknown,
  readEntries: () => Promise<ServerEntry[]>,
  now: () => number
): Promise<unknown> {
  if (codeOf(error) !== 'FST_ERR_MAINTENANCE_RUNNING') return error
  const entries = await withTimeout(readEntries(), READ_TIMEOUT).catch(() => [])
  const { runs } = error as Error & RunningRuns
  return runningError(runs.map(run => ({ ...run, server: serverOf(run, entries, now()) })))
}

/** A command, and a server that the store has forgotten, have no entry. */
function serverOf ({ host, pid, since }: Run, entries: readonly ServerEntry[], now: number): Run['server'] {
  // a restarted container has the same host and process number as the one before it
  const entry = entries.findLast(entry => entry.host === host && entry.pid === pid && entry.startedAt <= since)
  if (entry === undefined) return 'unknown'
  if (entry.left) return 'stopped'
  return silenceOf(entry, now) >= LOST_AFTER ? 'lost' : 'running'
}
