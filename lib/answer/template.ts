import { readAsset } from '../util/asset.cjs'

export const STYLE = readAsset('util/palette.css') + readAsset('answer/page/page.css')

export const SCRIPT = readAsset('answer/page/page.client.js')

/** The bundled page, in Eta. It gets the variables of every template, the texts of a language, style and script. */
export const TEMPLATE = readAsset('answer/page/page.eta')
