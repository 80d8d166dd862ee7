import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ForbiddenError, show } from '../errors.ts'
import { cookieName, findCookie, formatCookie } from '../util/cookie.ts'

/**
 * A change must come from the page itself or from a program. Browsers send `Sec-Fetch-Site` (not over plain http to
 * another host) or `Origin` with every POST, and no page can forge either (Fetch Metadata; RFC 6454 section 7). A
 * program sends neither, but then it must not send a form: an old browser can post one from any site, but not JSON.
 * @throws FST_ERR_MAINTENANCE_FORBIDDEN
 */
export function checkOrigin ({ method, headers, host }: FastifyRequest): void {
  if (method !== 'POST') return
  const { 'sec-fetch-site': site, origin, 'content-type': type = '' } = headers
  // the browser compares with the address that it knows, even if a proxy rewrites Host
  if (site === 'same-origin') return
  if (site !== undefined) {
    throw new ForbiddenError(`a change must come from this page itself, Sec-Fetch-Site is ${show(site)}`)
  }
  if (origin !== undefined) {
    if (isHost(origin, host)) return
    throw new ForbiddenError(
      `a change must come from this page itself, Origin is ${show(origin)} and the host ${show(host)}`
    )
  }
  if (FORM.test(type)) throw new ForbiddenError('a form needs the header Sec-Fetch-Site or Origin; programs send JSON')
}

/** Matches more than the body parser takes: what looks like a form is refused. */
const FORM = /x-www-form-urlencoded/i

/** The scheme may be another one: a proxy that ends TLS does not always say so. */
function isHost (origin: string, host: string): boolean {
  try {
    const from = new URL(origin)
    // as a URL, so that the scheme's own port counts as none
    return /^https?:$/.test(from.protocol) && from.host === new URL(`${from.protocol}//${host}`).host
  } catch {
    return false
  }
}

const TOKEN_COOKIE = 'maintenance-form'
/** 192 random bits. */
const TOKEN = /^[\w-]{32}$/

const knownToken = (request: FastifyRequest): string | null =>
  findCookie(request.headers.cookie ?? '', cookieName(TOKEN_COOKIE, request), value => TOKEN.test(value))

/**
 * The token for the forms of a page: the one of its cookie, so that two tabs and several servers agree, or a new one.
 */
export function tokenFor (request: FastifyRequest, reply: FastifyReply): string {
  const known = knownToken(request)
  if (known !== null) return known
  const token = randomBytes(24).toString('base64url')
  reply.header('set-cookie', formatCookie({ name: TOKEN_COOKIE, value: token, sameSite: 'Strict' }, request))
  return token
}

/**
 * A second check for browsers without `Sec-Fetch-Site`, because `Origin` is compared without its scheme: the form
 * repeats the cookie, which no other origin can read and over https none can set. Without the cookie there is nothing
 * to compare with.
 */
export function hasToken (request: FastifyRequest, token: string | null): boolean {
  if (request.headers['sec-fetch-site'] !== undefined) return true
  const known = knownToken(request)
  return known === null || token === known
}
