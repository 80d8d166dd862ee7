import type { PageBrand } from '../../types/index.ts'
import { text, type Rule, type Shape } from '../util/validate.ts'

const LOGO_MAX = 100_000

/** Raster images and SVG; nothing that a browser would run. */
const DATA_URL = /^data:image\/(?:png|jpeg|gif|webp|avif|svg\+xml)[;,]/i

const logo: Rule = {
  expected: `an SVG document ('<svg …'), or a data: URL of an image, of at most ${LOGO_MAX} characters`,
  test: value => typeof value === 'string' && value.length <= LOGO_MAX && (isSvg(value) || DATA_URL.test(value))
}

const isSvg = (logo: string): boolean => /^\s*(?:<\?xml[^>]*>\s*)?<svg[\s>]/.test(logo)

const color: Rule = {
  expected: "a colour such as '#1f5fbf'",
  test: value => typeof value === 'string' && /^#(?:[\da-f]{3}|[\da-f]{6})$/i.test(value)
}

export const BRAND: Shape = { name: text(200), logo, color }

/** As an image, an SVG runs no script and loads nothing. */
export function logoUrl ({ logo }: PageBrand): string | null {
  if (logo === undefined) return null
  return isSvg(logo) ? `data:image/svg+xml;base64,${Buffer.from(withNamespace(logo.trim())).toString('base64')}` : logo
}

/** In an HTML page an inline SVG needs no namespace, as an image it does. */
const withNamespace = (svg: string): string =>
  /<svg[^>]*\sxmlns=/.test(svg) ? svg : svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg"')

/** Only the line above the page: a colour that is hard to read on the page must not be one for text. */
export const brandStyle = ({ color }: PageBrand): string =>
  color === undefined ? '' : `main { border-top-color: ${color} }\n`
