import type { Mode } from '../../types/index.ts'
import { readAsset } from '../util/asset.cjs'

/** The mode that an answer names: a request that was held until the timeout is blocked like any other. */
export type ShownMode = 'full' | 'read-only'

export const shownMode = (mode: Mode): ShownMode => mode === 'read-only' ? 'read-only' : 'full'

export const LANGUAGES = ['en', 'de', 'fr', 'es', 'it', 'pt', 'zh', 'ja', 'ar'] as const

export type Language = typeof LANGUAGES[number]

/** The texts of the bundled page. The operator's message is not translated. */
export interface Texts {
  readonly title: { readonly [mode in ShownMode]: string }
  /** If the operator wrote no message. */
  readonly message: { readonly [mode in ShownMode]: string }
  /** Before the end of the window. */
  readonly expected: string
  /** If the end is unknown. */
  readonly later: string
  /** The page checks automatically. */
  readonly waiting: string
  /** The site answers again, but not with this page. */
  readonly back: string
  readonly home: string
  /** Scripts are disabled: the page cannot check. */
  readonly noScript: string
  readonly retry: string
}

const read = (language: Language): Texts => JSON.parse(readAsset(`answer/page/locales/${language}.json`))

export const TEXTS = Object.fromEntries(LANGUAGES.map(language => [language, read(language)])) as Record<Language, Texts>
