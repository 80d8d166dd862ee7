import { parseWeights, remembered } from '../util/accept-header.ts'
import { chooseLanguage } from '../util/accept-language.ts'
import { LANGUAGES, type Language } from './texts.ts'

/** The bodies on offer, best first where a client likes several equally. */
export type Format = 'html' | 'json' | 'problem' | 'text' | 'events'

const OFFERS: readonly { format: Format, type: string, group?: string }[] = [
  { format: 'html', type: 'text/html', group: 'text/*' },
  { format: 'json', type: 'application/json', group: 'application/*' },
  { format: 'problem', type: 'application/problem+json', group: 'application/*' },
  { format: 'text', type: 'text/plain', group: 'text/*' },
  // only for who names it: an `EventSource` does
  { format: 'events', type: 'text/event-stream' }
]

/** Who takes anything is a program more often than a browser: browsers name `text/html`. */
const OFFERS_FOR_ANYTHING = OFFERS
  .filter(offer => offer.group !== undefined)
  .sort((a, b) => Number(b.format === 'json') - Number(a.format === 'json'))

/**
 * The body for an `Accept` header (RFC 9110 section 12.5.1): the most specific range decides on each
 * offer, the highest weight wins, `q=0` excludes. Never 406: who takes none of them gets JSON.
 */
export const negotiateFormat = remembered((accept: string): Format => {
  const weights = parseWeights(accept)
  let best: { format: Format, weight: number } = { format: 'json', weight: 0 }
  // among equal weights, who is named precisely comes first
  for (const specificity of [2, 1, 0]) {
    for (const { format, type, group } of specificity === 0 ? OFFERS_FOR_ANYTHING : OFFERS) {
      const ranges = group === undefined ? [type] : [type, group, '*/*']
      const deciding = ranges.findIndex(range => weights.has(range))
      const weight = weights.get(ranges[deciding] ?? '') ?? 0
      if (deciding === 2 - specificity && weight > best.weight) best = { format, weight }
    }
  }
  return best.format
})

/** The language of the bundled page. */
export const negotiateLanguage = remembered((header: string): Language => chooseLanguage(header, LANGUAGES, 'en'))

export type Encoding = 'br' | 'gzip' | 'identity'

/** The content coding for an `Accept-Encoding` header (RFC 9110 section 12.5.3): the smallest one accepted. */
export const negotiateEncoding = remembered((header: string): Encoding => {
  const weights = parseWeights(header)
  const accepted = (coding: string) => (weights.get(coding) ?? weights.get('*') ?? 0) > 0
  return (['br', 'gzip'] as const).find(accepted) ?? 'identity'
})
