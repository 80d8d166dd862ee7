import type { FastifyMaintenanceOptions } from '../../types/index.ts'
import type { Log } from '../util/log.ts'

/** The option `bypass`, with its defaults. */
export interface BypassSettings {
  readonly path: string
  readonly key: string | undefined
  /** Seconds. */
  readonly ttl: number
  readonly cookie: string
}

/** Most often, an environment variable is missing. */
export function warnOfMissingKey ({ bypass }: FastifyMaintenanceOptions, log: Log): void {
  if (bypass === undefined || !('key' in bypass) || bypass.key !== undefined) return
  log.warn(
    "maintenance: option 'bypass.key' is undefined: anyone who can read the store can make a bypass cookie. Is a variable missing?"
  )
}
