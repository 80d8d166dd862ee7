import type { ResponseOptions } from '../../types/index.ts'

/** Options without a default are present all the same. */
type Optional = 'template' | 'data' | 'redirect' | 'refresh'

/** The option `response`, with its defaults. */
export type ResponseSettings =
  { readonly [name in Exclude<keyof ResponseOptions, Optional>]: Exclude<ResponseOptions[name], undefined> } &
  { readonly [name in Optional]: ResponseOptions[name] | undefined }
