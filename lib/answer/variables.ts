import type { Mode, TemplateVariables } from '../../types/index.ts'
import { modeOf, type StoredWindow } from '../state/record.ts'
import { retryAfterOf } from './retry-after.ts'
import type { ResponseSettings } from './settings.ts'
import { shownMode, wordsOf } from './texts.ts'

/** How a window treats requests; `null`: the site is open, and only routes that are always blocked get an answer. */
export const modeOfWindow = (window: StoredWindow | null): Mode => window === null ? 'full' : modeOf(window)

/** @param message in the language of the visitor; `null`: the operator wrote none */
export function variablesOf (
  site: string, window: StoredWindow | null, message: string | null, response: ResponseSettings, now: number
): TemplateVariables {
  const mode = modeOfWindow(window)
  return {
    message: message ?? wordsOf(response.texts, 'en', mode).message,
    mode: shownMode(mode),
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
