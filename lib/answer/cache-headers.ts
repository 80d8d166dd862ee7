/**
 * Beside every name that ends in `cache-control` (CDN-Cache-Control, Netlify-CDN-Cache-Control,
 * X-LiteSpeed-Cache-Control).
 */
const CACHE_HEADERS = new Set([
  'age',
  'edge-control',
  'etag',
  'expires',
  'last-modified',
  'pragma',
  'surrogate-control',
  'x-accel-expires'
])

/**
 * Does it tell a browser, proxy or CDN to keep or to compare an answer? Some of them outrank `Cache-Control`.
 * @param name in lower case
 */
export function isCacheHeader (name: string): boolean {
  return CACHE_HEADERS.has(name) || name.endsWith('cache-control')
}
