import { parseWeights } from './accept-header.ts'

/**
 * The language for an `Accept-Language` header (lookup, RFC 4647 section 3.4): of the ranges with the highest weight, each
 * is shortened until it is available, so `fr-CA` gets `fr-CA` if there is one, and `fr` otherwise. `q=0` excludes.
 */
export function chooseLanguage<L extends string> (header: string, available: readonly L[], fallback: L): L {
  const weights = parseWeights(header)
  const ranges = [...weights].filter(([, weight]) => weight > 0).sort(([, a], [, b]) => b - a)
  const longestFirst = available.toSorted((a, b) => b.length - a.length)
    .filter(language => weights.get(language.toLowerCase()) !== 0)
  for (const [range] of ranges) {
    const found = longestFirst.find(language => `${range}-`.startsWith(`${language.toLowerCase()}-`))
    if (found !== undefined) return found
  }
  return fallback
}
