import type { Mode } from '../../types/index.ts'
import { readAsset } from '../util/asset.cjs'

/** The mode that answers name: a request that was held in vain is blocked like any other. */
export type ShownMode = 'full' | 'read-only'

export const shownMode = (mode: Mode): ShownMode => mode === 'read-only' ? 'read-only' : 'full'

/** Each has a file in page/locales/. */
export const LANGUAGES = ['en', 'de', 'fr', 'es', 'it', 'pt', 'zh', 'ja', 'ar'] as const

export type Language = typeof LANGUAGES[number]

/** The words of the bundled page. The operator's message is shown as it was written. */
export interface Texts {
  readonly title: { readonly [mode in ShownMode]: string }
  /** Shown if the operator wrote no message. */
  readonly message: { readonly [mode in ShownMode]: string }
  /** Before the end of the window. */
  readonly expected: string
  /** Shown if no end is known. */
  readonly later: string
  /** Shown while the page checks automatically. */
  readonly waiting: string
  readonly back: string
  readonly home: string
  readonly noScript: string
  readonly retry: string
}

const readTexts = (language: Language): Texts => JSON.parse(readAsset(`answer/page/locales/${language}.json`))

export const TEXTS = Object.fromEntries(LANGUAGES.map(language => [language, readTexts(language)])) as
  { readonly [language in Language]: Texts }
