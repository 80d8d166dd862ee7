/** Headers that a browser sends when it requests a page. */
export const BROWSER = {
  accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'accept-language': 'de-DE,de;q=0.9',
  'accept-encoding': 'gzip, deflate, br'
}

/** Headers of a program. */
export const API_CLIENT = { accept: 'application/json' }
