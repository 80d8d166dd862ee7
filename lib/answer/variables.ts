import type { ResponseSettings } from './settings.ts'
import { modeOf, type StoredWindow } from '../state/record.ts'
import type { TemplateVariables } from './page.ts'
import { retryAfterOf } from './retry-after.ts'
import { shownMode, TEXTS } from './texts.ts'

/** @param message in the language of the visitor; `null`: the operator wrote none */
export function variablesOf (
  site: string, window: StoredWindow | null, message: string | null, response: ResponseSettings, now: number
): TemplateVariables {
  const mode = shownMode(window === null ? 'full' : modeOf(window))
  return {
    message: message ?? TEXTS.en.message[mode],
    mode,
    site,
    startsAt: window?.startsAt ?? null,
    endsAt: endOf(window, now),
    retryAfter: retryAfterOf(window, response, now),
    statusCode: response.statusCode
  }
}

/** A run may last longer than its end says: an end that has passed is not shown. */
function endOf (window: StoredWindow | null, now: number): string | null {
  if (window === null || window.endsAt === null) return null
  return window.kind === 'run' && Date.parse(window.endsAt) <= now ? null : window.endsAt
}
