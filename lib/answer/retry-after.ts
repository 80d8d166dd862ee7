import type { ResponseSettings } from './settings.ts'
import type { StoredWindow } from '../state/record.ts'

/**
 * Seconds for `Retry-After` (RFC 9110 section 10.2.3), never below 1; `null`: none. A known end of the window takes
 * precedence over the settings, unless a run has lasted longer than its end says.
 */
export function retryAfterOf (window: StoredWindow | null, response: ResponseSettings, now: number): number | null {
  const left = window === null || window.endsAt === null ? NaN : Math.ceil((Date.parse(window.endsAt) - now) / 1000)
  if (left > 0 || (left <= 0 && window?.kind !== 'run')) return Math.max(1, left)
  return window?.retryAfter ?? (response.retryAfter === false ? null : response.retryAfter)
}
