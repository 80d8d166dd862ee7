/** The bodies on offer, best first where a client likes several equally. */
export type Format = 'html' | 'json' | 'problem' | 'text'

const OFFERS: readonly { format: Format, type: string, group: string }[] = [
  { format: 'html', type: 'text/html', group: 'text/*' },
  { format: 'json', type: 'application/json', group: 'application/*' },
  { format: 'problem', type: 'application/problem+json', group: 'application/*' },
  { format: 'text', type: 'text/plain', group: 'text/*' }
]

/** Who takes anything is a program more often than a browser: browsers name `text/html`. */
const OFFERS_FOR_ANYTHING = [...OFFERS].sort((a, b) => Number(b.format === 'json') - Number(a.format === 'json'))

/** Browsers send a handful of different headers; a flood of odd ones costs no memory. */
const SEEN_MAX = 1000
const LENGTH_MAX = 1000
const seen = new Map<string, Format>()

/**
 * The body for an `Accept` header (RFC 9110 section 12.5.1): the most specific range decides on each
 * offer, the highest weight wins, `q=0` excludes. Never 406: who takes none of them gets JSON.
 */
export function negotiate (accept: string | undefined): Format {
  if (accept === undefined) return 'json'
  const known = seen.get(accept)
  if (known !== undefined) return known
  const format = choose(accept)
  if (accept.length <= LENGTH_MAX) {
    if (seen.size >= SEEN_MAX) seen.clear()
    seen.set(accept, format)
  }
  return format
}

function choose (accept: string): Format {
  const weights = parse(accept)
  let best: { format: Format, weight: number, specificity: number } = { format: 'json', weight: 0, specificity: 0 }
  for (const specificity of [2, 1, 0]) {
    for (const { format, type, group } of specificity === 0 ? OFFERS_FOR_ANYTHING : OFFERS) {
      const ranges = [type, group, '*/*']
      const deciding = ranges.findIndex(range => weights.has(range))
      if (deciding !== 2 - specificity) continue
      const weight = weights.get(ranges[deciding] as string) as number
      if (weight > best.weight) best = { format, weight, specificity }
    }
  }
  return best.format
}

/** Media ranges and their weights; linear in the length of the header. */
function parse (accept: string): Map<string, number> {
  const weights = new Map<string, number>()
  for (const part of accept.toLowerCase().split(',')) {
    const [range = '', ...parameters] = part.split(';').map(piece => piece.trim())
    const q = parameters.find(parameter => parameter.startsWith('q='))
    const weight = q === undefined ? 1 : Number(q.slice(2))
    const valid = weight >= 0 && weight <= 1 ? weight : 0
    weights.set(range, Math.max(weights.get(range) ?? 0, valid))
  }
  return weights
}
