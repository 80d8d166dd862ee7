import { statSync } from 'node:fs'
import { hostname } from 'node:os'
import { codeOf } from '../../errors.ts'

/** Who has the same sees the same process ids: containers may share a host name, but not their processes. */
export const SPACE = `${hostname()}/${statSync('/proc/self/ns/pid', { throwIfNoEntry: false })?.ino}`

/** Is it a process of this space, and gone? Of others nothing is known. */
export function isDead (pid: number, space: string): boolean {
  if (space !== SPACE) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return codeOf(error) !== 'EPERM'
  }
}
