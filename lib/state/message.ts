import type { Message } from '../../types/index.ts'
import { isObject, type Rule } from '../util/validate.ts'
import { MESSAGE_MAX, NAME_MAX } from './record.ts'

/** Control characters but tab and line feed, and unpaired surrogates: neither can be shown or stored safely. */
const UNSAFE =
  // eslint-disable-next-line no-control-regex -- it looks for control characters
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

const isText = (value: unknown, max: number): value is string =>
  typeof value === 'string' && value.trim() !== '' && value.length <= max && !UNSAFE.test(value)

export const isLanguage = (tag: string): boolean => {
  try {
    return Intl.getCanonicalLocales(tag).length === 1
  } catch {
    return false
  }
}

/** What visitors read: text, or one text per language. */
export const message: Rule = {
  expected: `text of 1 to ${MESSAGE_MAX} characters without control characters, or { en: text, de: text, … }`,
  test: value => isText(value, MESSAGE_MAX) || (isObject(value) && Object.keys(value).length > 0 &&
    Object.entries(value).every(([tag, text]) => isLanguage(tag) && isText(text, MESSAGE_MAX)))
}

/** A name or description: one line. */
export const name: Rule = {
  expected: `text of 1 to ${NAME_MAX} characters on one line`,
  test: value => isText(value, NAME_MAX) && !value.includes('\n')
}

const ALL_UNSAFE = new RegExp(`${UNSAFE.source}|\n`, 'g')

/** The nearest name to any text; `''` if there is none. */
export const toName = (text: string): string => text.trim().slice(0, NAME_MAX).replace(ALL_UNSAFE, ' ').trim()

/** The texts of a message by language tag, in lower case; one text without a language has the tag `''`. */
export const messageByLanguage = (message: Message): ReadonlyMap<string, string> =>
  new Map(
    typeof message === 'string'
      ? [['', message]]
      : Object.entries(message).map(([tag, text]) => [tag.toLowerCase(), text])
  )

/** For readers without a language preference: the English text, else the first. */
export function defaultText (message: Message | null): string | null {
  if (message === null || typeof message === 'string') return message
  return message.en ?? Object.values(message)[0] ?? null
}
