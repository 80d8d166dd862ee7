import type { FastifyRequest } from 'fastify'

type Protocol = Pick<FastifyRequest, 'protocol'>

export interface Cookie {
  /** Without its prefix. */
  readonly name: string
  readonly value: string
  /** Seconds. Absent: until the browser is closed. */
  readonly maxAge?: number | undefined
  readonly sameSite: 'Lax' | 'Strict'
}

/**
 * The name that the browser knows. It accepts a `__Host-` cookie over https only and for this host only, and no other
 * host can set one (RFC 6265bis section 4.1.3.2).
 */
export const cookieName = (name: string, { protocol }: Protocol): string =>
  protocol === 'https' ? `__Host-${name}` : name

/** The value of a `Set-Cookie` header. */
export function formatCookie ({ name, value, maxAge, sameSite }: Cookie, request: Protocol): string {
  const age = maxAge === undefined ? '' : `; Max-Age=${maxAge}`
  const secure = request.protocol === 'https' ? '; Secure' : ''
  return `${cookieName(name, request)}=${value}; Path=/${age}; HttpOnly; SameSite=${sameSite}${secure}`
}

/** No browser sends more cookies of the same name than this. */
const COOKIES_MAX = 20

/**
 * The first good value under this name in a `Cookie` header: an older cookie of another path may come before the right
 * one. Nothing else is taken out of the header: every request of a tester comes here, and 16 KB of semicolons must cost
 * as little as any other header.
 */
export function findCookie (header: string, name: string, isGood: (value: string) => boolean): string | null {
  const start = `${name}=`
  let found = 0
  for (let at = header.indexOf(start); at !== -1 && found < COOKIES_MAX; at = header.indexOf(start, at + 1)) {
    if (!beginsCookie(header, at)) continue
    found++
    const end = header.indexOf(';', at)
    const value = header.slice(at + start.length, end === -1 ? header.length : end).trimEnd()
    if (isGood(value)) return value
  }
  return null
}

/** Does a cookie begin here, with only blanks between it and the one before? */
function beginsCookie (header: string, at: number): boolean {
  let before = at - 1
  while (isBlank(header.charCodeAt(before))) before--
  return before === -1 || header.charCodeAt(before) === SEMICOLON
}

const SEMICOLON = 59
/** A space or a tab. */
const isBlank = (code: number): boolean => code === 32 || code === 9
