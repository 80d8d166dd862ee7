import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { processSpace } from '../util/process-liveness.ts'
import type { ServerEntry } from './entry.ts'
import { VERSION } from '../util/version.ts'

/** How servers name themselves to others. A new id each time the process starts. */
export function describeProcess (): Pick<
  ServerEntry,
  'id' | 'label' | 'host' | 'pid' | 'version' | 'startedAt' | 'space'
> {
  const host = hostname()
  return {
    id: randomUUID(),
    label: `${host} (process ${process.pid})`,
    host,
    pid: process.pid,
    version: VERSION,
    startedAt: new Date().toISOString(),
    space: processSpace()
  }
}
