/**
 * On everything that comes from here. With `no-referrer`, a browser would send `Origin: null` from the page's own form.
 */
export const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'same-origin',
  'x-frame-options': 'DENY'
} as const
