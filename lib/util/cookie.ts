import type { FastifyRequest } from 'fastify'

/** Upper bound on the cookies of one name that are examined. */
const COOKIES_MAX = 20

export interface CookieAttributes {
  readonly sameSite: 'Lax' | 'Strict'
  /** Seconds; without it, the cookie lasts until the browser is closed. */
  readonly maxAge?: number
}

/**
 * The name that a cookie has on the wire. Over https it gets the prefix `__Host-`, so that no other host can set it
 * (RFC 6265bis section 4.1.3.2).
 */
export const cookieName = (name: string, request: FastifyRequest): string =>
  request.protocol === 'https' ? `__Host-${name}` : name

/** A `Set-Cookie` value for the whole site, out of reach of scripts. The value must not need escaping. */
export function makeSetCookie (
  request: FastifyRequest, name: string, value: string, { sameSite, maxAge }: CookieAttributes
): string {
  const age = maxAge === undefined ? '' : `; Max-Age=${maxAge}`
  const secure = request.protocol === 'https' ? '; Secure' : ''
  return `${cookieName(name, request)}=${value}; Path=/${age}; HttpOnly; SameSite=${sameSite}${secure}`
}

/**
 * The first good value of a cookie: browsers may send an older cookie of another path first. The header is searched
 * rather than parsed, because every request of a tester gets here and the header may be 16 KB of semicolons.
 * @param header the `Cookie` header
 * @param cookie the name as {@link cookieName} makes it
 */
export function findCookie (header: string, cookie: string, isGood: (value: string) => boolean): string | null {
  const name = `${cookie}=`
  let found = 0
  for (let at = header.indexOf(name); at !== -1 && found < COOKIES_MAX; at = header.indexOf(name, at + 1)) {
    if (!isStart(header, at)) continue
    found++
    const end = header.indexOf(';', at)
    const value = header.slice(at + name.length, end === -1 ? header.length : end).trimEnd()
    if (isGood(value)) return value
  }
  return null
}

/** Does a cookie start here, that is, after nothing or a semicolon and blanks? */
function isStart (header: string, at: number): boolean {
  let before = at - 1
  while (isBlank(header.charCodeAt(before))) before--
  return before === -1 || header.charCodeAt(before) === SEMICOLON
}

const SEMICOLON = 59
/** A space or a tab. */
const isBlank = (code: number): boolean => code === 32 || code === 9
