import type { PageBrand, ResponseOptions } from '../../types/index.ts'
import type { TextsByLanguage } from './texts.ts'

/** Options without a default are present all the same. */
type Optional = 'template' | 'data' | 'json' | 'redirect' | 'refresh'

/** The option `response`, with its defaults. */
export type ResponseSettings = {
  readonly [name in Exclude<keyof ResponseOptions, Optional | 'brand' | 'texts'>]: Exclude<
    ResponseOptions[name],
    undefined
  >
} & { readonly [name in Optional]: ResponseOptions[name] | undefined } & {
  readonly brand: PageBrand
  readonly texts: TextsByLanguage
}
