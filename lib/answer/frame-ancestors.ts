import type { OutgoingHttpHeaders } from 'node:http'

/** The last directive of our policies. */
export const NO_FRAMES = "; frame-ancestors 'none'"

/**
 * Which sites may frame a page is for the application to say: what its earlier hooks said replaces our `'none'`.
 * @param own our `Content-Security-Policy`
 * @param foreign headers of earlier hooks
 */
export function keepFrameAncestors (own: string, foreign: OutgoingHttpHeaders): string {
  if (!own.endsWith(NO_FRAMES)) return own
  const rest = own.slice(0, -NO_FRAMES.length)
  const [first, ...more] = policiesIn(foreign['content-security-policy']).flatMap(ancestorsIn)
  if (first !== undefined) return [`${rest}; ${first}`, ...more].join(', ')
  // browsers look at the older header only if no policy says it
  return foreign['x-frame-options'] === undefined ? own : rest
}

const policiesIn = (header: OutgoingHttpHeaders[string]): string[] => [header ?? ''].flat().join(',').split(',')

/** Of several such directives in one policy, the first counts (CSP level 3, section 2.2.1). */
function ancestorsIn (policy: string): string[] {
  return policy
    .split(';')
    .map(directive => directive.trim())
    .filter(directive => /^frame-ancestors(?:\s|$)/i.test(directive))
    .slice(0, 1)
}
