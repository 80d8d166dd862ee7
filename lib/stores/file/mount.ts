import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { OptionError } from '../../errors.ts'
import { withTimeout } from '../../util/timeout.ts'
import { realTarget } from './atomic-write.ts'

/** A file server that does not answer by then is not waited for (ms). */
const LOOK_TIMEOUT = 1000

/**
 * A file that is mounted alone, as by `docker run -v ./maintenance.json:/app/maintenance.json`, cannot be replaced from
 * inside (EBUSY), and when it is replaced outside, the mount keeps the old one: both sides would go their own ways.
 * @param option its name, for the error
 * @throws FST_ERR_MAINTENANCE_OPTION
 */
export async function refuseMount (option: string, file: string): Promise<void> {
  const target = await withTimeout(realTarget(resolve(file)), LOOK_TIMEOUT).catch(() => null)
  if (target === null || !(await mountPoints()).includes(target)) return
  throw new OptionError(
    option,
    `'${file}', a mount of its own`,
    `a file in a mounted directory: ${mountDirectory(target)}`
  )
}

/** What to do about it. */
export const mountDirectory = (target: string): string =>
  `a file that is mounted alone cannot be replaced, so mount the directory ${dirname(target)} instead`

/** Only Linux has such mounts, and says so here; without /proc, the first write fails and explains it. */
async function mountPoints (): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')).split('\n')
  return lines.map(line => unescape(line.split(' ')[4] ?? ''))
}

/** Blanks and backslashes stand there in octal. */
const unescape = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
