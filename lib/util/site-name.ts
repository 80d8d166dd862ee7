import type { Rule } from './validate.ts'

/** DESIGN section 1: also safe as a part of keys and file names. */
const SITE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

// apart from the options, which the command does not load: it starts faster
export const siteName: Rule = {
  expected: "a name of letters, digits, '.', '_' and '-' that begins with a letter or digit, at most 64 characters",
  test: value => typeof value === 'string' && SITE_NAME.test(value)
}
