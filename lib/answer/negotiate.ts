import { parseWeights, remembered } from '../util/accept-header.ts'

/** The bodies on offer, best first where a client likes several equally. */
export type Format = 'html' | 'json' | 'problem' | 'text' | 'events'

const OFFERS: readonly { format: Format, type: string, group?: string }[] = [
  { format: 'html', type: 'text/html', group: 'text/*' },
  { format: 'json', type: 'application/json', group: 'application/*' },
  { format: 'problem', type: 'application/problem+json', group: 'application/*' },
  { format: 'text', type: 'text/plain', group: 'text/*' },
  // only for clients that name it: an `EventSource` does
  { format: 'events', type: 'text/event-stream' }
]

const WITHOUT_EVENTS = OFFERS.filter(({ format }) => format !== 'events')

/** A client that takes anything is a program more often than a browser: browsers name `text/html`. */
const OFFERS_FOR_ANYTHING = WITHOUT_EVENTS
  .toSorted((a, b) => Number(b.format === 'json') - Number(a.format === 'json'))

/**
 * The body for an `Accept` header (RFC 9110 section 12.5.1): the most specific range decides on each
 * offer, the highest weight wins, `q=0` excludes. Never 406: clients that accept none of them get JSON.
 */
export const negotiateFormat = remembered((accept: string): Format => bestOf(accept, OFFERS))

/** The same for requests that cannot get an event stream. */
export const negotiateBody = remembered((accept: string): Exclude<Format, 'events'> =>
  bestOf(accept, WITHOUT_EVENTS) as Exclude<Format, 'events'>)

function bestOf (accept: string, offers: typeof OFFERS): Format {
  const weights = parseWeights(accept)
  let best: { format: Format, weight: number } = { format: 'json', weight: 0 }
  // among equal weights, one that is named precisely comes first
  for (const specificity of [2, 1, 0]) {
    for (const { format, type, group } of specificity === 0 ? OFFERS_FOR_ANYTHING : offers) {
      const ranges = group === undefined ? [type] : [type, group, '*/*']
      const deciding = ranges.findIndex(range => weights.has(range))
      const weight = weights.get(ranges[deciding] ?? '') ?? 0
      if (deciding === 2 - specificity && weight > best.weight) best = { format, weight }
    }
  }
  return best.format
}

export type Encoding = 'br' | 'gzip' | 'identity'

/** The content coding for an `Accept-Encoding` header (RFC 9110 section 12.5.3): the smallest one accepted. */
export const negotiateEncoding = remembered((header: string): Encoding => {
  const weights = parseWeights(header)
  const accepted = (coding: string) => (weights.get(coding) ?? weights.get('*') ?? 0) > 0
  return (['br', 'gzip'] as const).find(accepted) ?? 'identity'
})
