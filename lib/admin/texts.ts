import type { AdminTexts } from '../../types/admin.ts'
import { readAsset } from '../util/asset.cjs'

const readTexts = (language: string): AdminTexts => JSON.parse(readAsset(`admin/locales/${language}.json`))

/** The words of the admin page. */
export const TEXTS = { en: readTexts('en'), de: readTexts('de') } as const
