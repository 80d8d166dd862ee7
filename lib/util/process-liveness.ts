import { randomUUID } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { codeOf } from '../errors.ts'

const PID_MAX = 2 ** 31 - 1

let space: string | undefined

/**
 * Names the machine (since its last boot) and the PID namespace: processes that share it can see each other's PIDs.
 * Read on first use: under `node --permission`, loading the package must not touch /proc.
 */
export function processSpace (): string {
  space ??= readSpace()
  return space
}

export function readSpace (): string {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${statSync('/proc/self/ns/pid').ino}`
  } catch {
    // other systems have no PID namespaces; on Linux the answer is unknown, so that no process elsewhere is taken for
    // dead
    return process.platform === 'linux' ? randomUUID() : hostname()
  }
}

/** True if it is a process of our own space, and gone. Nothing is known of processes elsewhere. */
export function isDead (pid: number, where: string): boolean {
  if (where !== processSpace() || !Number.isInteger(pid) || pid < 1 || pid > PID_MAX) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return codeOf(error) === 'ESRCH'
  }
}
