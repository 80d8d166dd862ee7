import type { Mode } from '../../types/index.ts'

/** What visitors read where the operator wrote nothing. */
export const DEFAULT_MESSAGE: { readonly [mode in Mode]: string } = {
  full: 'The site is being maintained. It will be back shortly.',
  'read-only': 'The site can be read, but not changed for the moment: it is being maintained.'
}
