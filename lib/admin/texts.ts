import type { AdminTexts } from '../../types/admin.ts'
import { readAsset } from '../util/asset.cjs'

const read = (language: string): AdminTexts => JSON.parse(readAsset(`admin/page/locales/${language}.json`))

/** The words of the admin page. */
export const TEXTS: { readonly en: AdminTexts, readonly de: AdminTexts } = { en: read('en'), de: read('de') }
