import type { Log } from './log.ts'

/** A log that never throws: a broken destination or serializer must not stop a change of state. */
export function createSafeLog (log: Log): Log {
  const safe = (level: keyof Log) => (...args: unknown[]): void => {
    try {
      Reflect.apply(log[level], log, args)
    } catch {}
  }
  return { info: safe('info'), warn: safe('warn'), error: safe('error') }
}
