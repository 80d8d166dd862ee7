/**
 * What is counted. Both ends of a sample are marked by a call of libuv's `uv_loadavg`, which nothing else calls:
 * callgrind writes its counts down there.
 */
import { execFile } from 'node:child_process'
import { loadavg } from 'node:os'
import { promisify } from 'node:util'

export const mark = loadavg

/** To be called once all is loaded: until then callgrind counts nothing, and so takes a third of the time. */
export async function startCounting () {
  if (process.env.COUNTED === undefined) return
  // valgrind hears only who does something
  const busy = setInterval(() => {}, 1)
  await promisify(execFile)('vgdb', [`--pid=${process.pid}`, 'instrumentation', 'on'])
  clearInterval(busy)
}
