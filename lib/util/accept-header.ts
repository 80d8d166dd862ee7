import { createBoundedMap } from './bounded-map.ts'

/** Browsers send a handful of different headers; a flood of odd ones costs no memory. */
const SEEN_MAX = 1000
const LENGTH_MAX = 1000
const READ_MAX = 4000
const ENTRIES_MAX = 500

/** A choice by a request header, made once for each different header seen. */
export function remembered<T> (choose: (header: string) => T): (header: string | undefined) => T {
  const seen = createBoundedMap<string, T>(SEEN_MAX)
  const absent = choose('')
  return function chosen (header) {
    if (header === undefined) return absent
    const known = seen.get(header)
    if (known !== undefined) return known
    const choice = choose(header)
    if (header.length <= LENGTH_MAX) seen.set(header, choice)
    return choice
  }
}

/**
 * Reads an `Accept…` header: its entries in lower case, with their weights (RFC 9110 section 12.4.2). An invalid weight
 * counts as 0. Only the first 4,000 characters and 500 entries are read: nobody needs more.
 */
export function parseWeights (header: string): Map<string, number> {
  const weights = new Map<string, number>()
  for (const part of header.slice(0, READ_MAX).toLowerCase().split(',', ENTRIES_MAX)) {
    const [name = '', ...parameters] = part.split(';').map(piece => piece.trim())
    const q = parameters.find(parameter => parameter.startsWith('q='))
    const weight = q === undefined ? 1 : Number(q.slice(2))
    const valid = weight >= 0 && weight <= 1 ? weight : 0
    if (name !== '') weights.set(name, Math.max(weights.get(name) ?? 0, valid))
  }
  return weights
}
