import { parseWeights } from './accept-header.ts'

/**
 * The language for an `Accept-Language` header: of the ranges with the highest weight, each is shortened until it is
 * available (lookup, RFC 4647 section 3.4). A language in the same script is preferred: `zh-TW` gets `zh-Hant` rather
 * than `zh`. If only another variety is available, such as `pt-PT` for `pt-BR`, that is chosen. `q=0` excludes.
 */
export function chooseLanguage<L extends string> (header: string, available: readonly L[], fallback: L): L {
  const weights = parseWeights(header)
  const ranges = [...weights].filter(([, weight]) => weight > 0).sort(([, a], [, b]) => b - a)
  const longestFirst = available.toSorted((a, b) => b.length - a.length)
    .filter(language => weights.get(language.toLowerCase()) !== 0)
  for (const [range] of ranges) {
    const related = longestFirst.filter(language => primaryOf(language) === primaryOf(range))
    const found = related.length === 0 ? undefined : closest(range, related)
    if (found !== undefined) return found
  }
  return fallback
}

function closest<L extends string> (range: string, related: readonly L[]): L | undefined {
  const script = scriptOf(range)
  const readable = related.filter(language => scriptOf(language) === script)
  const isPrefix = (language: L): boolean => `${range}-`.startsWith(`${language.toLowerCase()}-`)
  return readable.find(isPrefix) ?? readable[0] ?? related.find(isPrefix)
}

const primaryOf = (tag: string): string => (tag.split('-', 1)[0] as string).toLowerCase()

/** The script in which a language is usually written; `undefined` if the tag is invalid. */
export function scriptOf (tag: string): string | undefined {
  try {
    return new Intl.Locale(tag).maximize().script
  } catch {
    return undefined
  }
}
