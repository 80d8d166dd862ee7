import type { Mode, PageTexts, PageWords } from '../../types/index.ts'
import { chooseLanguage, scriptOf } from '../util/accept-language.ts'
import { readAsset } from '../util/asset.cjs'

/** The mode that answers name: a request whose hold timed out is blocked like any other. */
export type ShownMode = 'full' | 'read-only'

export const shownMode = (mode: Mode): ShownMode => mode === 'read-only' ? 'read-only' : 'full'

/** Each has a file in page/locales/. */
export const LANGUAGES = [
  'en', 'de', 'fr', 'es', 'it', 'pt', 'zh-Hans', 'zh-Hant', 'ja', 'ar', 'nl', 'pl', 'sv', 'tr', 'uk', 'ko'
] as const

export type Language = typeof LANGUAGES[number]

/** The words of the page in one mode. */
export type Words = { readonly [name in Exclude<keyof PageTexts, 'read-only' | 'hold'>]-?: string }

/** The words of one language: those of full mode, and what other modes say instead. */
export type Texts = Words & { readonly 'read-only': PageWords, readonly hold: PageWords }

const readTexts = (language: Language): Texts => JSON.parse(readAsset(`answer/page/locales/${language}.json`))

export const TEXTS = Object.fromEntries(LANGUAGES.map(language => [language, readTexts(language)])) as
  { readonly [language in Language]: Texts }

/** The option `response.texts`. */
export type TextsByLanguage = { readonly [language: string]: PageTexts }

/** The languages of the page: ours, and those that the application adds. */
export const languagesOf = (texts: TextsByLanguage): string[] => [...new Set([...LANGUAGES, ...Object.keys(texts)])]

/**
 * The words of a language and mode: the application's own, else ours, else those of the nearest language, or of
 * English.
 */
export function wordsOf (texts: TextsByLanguage, language: string, mode: Mode): Words {
  const nearest = chooseLanguage(language, LANGUAGES, 'en')
  const layers: PageTexts[] = [TEXTS[nearest], texts[nearest] ?? {}, texts[language] ?? {}]
  const inMode = mode === 'full' ? [] : layers.map(words => words[mode])
  return Object.assign({}, ...layers, ...inMode) as Words
}

/** Our name of a language, if it is one of ours: `zh` is `zh-Hans`. */
export function bundledName (tag: string): string {
  const { language, region } = new Intl.Locale(tag)
  const same = (other: string): boolean =>
    new Intl.Locale(other).language === language && scriptOf(other) === scriptOf(tag)
  return (region === undefined ? LANGUAGES.find(same) : undefined) ?? String(new Intl.Locale(tag))
}

const RIGHT_TO_LEFT: readonly (string | undefined)[] = ['Adlm', 'Arab', 'Hebr', 'Nkoo', 'Rohg', 'Syrc', 'Thaa']

export const directionOf = (language: string): 'ltr' | 'rtl' =>
  RIGHT_TO_LEFT.includes(scriptOf(language)) ? 'rtl' : 'ltr'
