import { parseWeights } from './accept-header.ts'

/**
 * The available language that an `Accept-Language` header likes best (RFC 4647 section 3.4, lookup): a range
 * such as `de-AT` matches `de-AT` before `de`. `*` matches nothing, and so leads to the fallback.
 */
export function chooseLanguage<T extends string, F> (header: string, available: Iterable<T>, fallback: F): T | F {
  const mostExactFirst = [...available].sort((a, b) => b.length - a.length)
  const ranges = [...parseWeights(header)].filter(([, weight]) => weight > 0).sort(([, a], [, b]) => b - a)
  for (const [range] of ranges) {
    const language = mostExactFirst.find(tag => `${range}-`.startsWith(`${tag.toLowerCase()}-`))
    if (language !== undefined) return language
  }
  return fallback
}
