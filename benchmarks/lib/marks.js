/**
 * Marks where a sample begins and ends by calling libuv's `uv_loadavg`, which nothing else calls: callgrind dumps its
 * counts there (`--dump-before`).
 */
import { execFile } from 'node:child_process'
import { loadavg } from 'node:os'
import { promisify } from 'node:util'

export const mark = loadavg

/** Call this once everything is loaded: without instrumentation, loading takes a third of the time. */
export async function startCounting () {
  if (process.env.COUNTED === undefined) return
  // valgrind handles vgdb's requests only while the process is active
  const busy = setInterval(() => {}, 1)
  await promisify(execFile)('vgdb', [`--pid=${process.pid}`, 'instrumentation', 'on'])
  clearInterval(busy)
}
