import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { FastifyMaintenanceAdminOptions } from '../../types/admin.ts'
import { ForbiddenError, show } from '../errors.ts'
import { NAME_MAX } from '../state/record.ts'
import { readCookie, writeCookie } from './cookies.ts'

export interface Guard {
  /** Before everything else: nobody's body is read who may not send one. */
  onRequest (request: FastifyRequest, reply: FastifyReply): Promise<unknown>
  /** Who it is, where `authorize` told. */
  nameOf (request: FastifyRequest): string | undefined
}

export function createGuard (authorize: FastifyMaintenanceAdminOptions['authorize']): Guard {
  const names = new WeakMap<FastifyRequest, string>()
  return {
    async onRequest (request, reply) {
      const hasReplied = watchReply(reply)
      const answer: unknown = await authorize(request, reply)
      // handed back, so that Fastify waits for the answer that is under way, and runs nothing behind it
      if (hasReplied()) return reply
      // neither is among the types, but whoever writes `return user?.isAdmin === true` means it
      if (answer === false || answer === null || reply.statusCode >= 400) throw new ForbiddenError('authorize refused the request')
      if (request.method === 'POST') checkOrigin(request)
      if (typeof answer === 'string' && answer.trim() !== '') names.set(request, answer.trim().slice(0, NAME_MAX))
    },
    nameOf: request => names.get(request)
  }
}

/** `reply.sent` comes too late: while an `onSend` hook of the application is still at work, it says no. */
function watchReply (reply: FastifyReply): () => boolean {
  let replied = false
  for (const name of ['send', 'callNotFound'] as const) {
    const original = reply[name] as (...args: unknown[]) => FastifyReply
    reply[name] = (...args: unknown[]) => {
      replied = true
      return original.apply(reply, args)
    }
  }
  return () => replied || reply.sent
}

/**
 * A change comes from the page itself, or from a program, which sends neither header. Browsers send at least one with every POST, and no
 * page can forge them (Fetch Metadata; RFC 6454 section 7).
 * @throws FST_ERR_MAINTENANCE_FORBIDDEN
 */
function checkOrigin ({ headers: { 'sec-fetch-site': site, origin }, host }: FastifyRequest): void {
  if (site !== undefined && site !== 'same-origin') throw new ForbiddenError(`a change must come from this page itself, Sec-Fetch-Site is ${show(site)}`)
  if (origin !== undefined && !isHost(origin, host)) throw new ForbiddenError(`a change must come from this page itself, Origin is ${show(origin)} and the host ${show(host)}`)
}

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

/** The token for the forms of a page: the one of its cookie, so that two tabs and several servers agree, or a new one. */
export function tokenFor (request: FastifyRequest, reply: FastifyReply): string {
  const known = readCookie(request, TOKEN_COOKIE)
  if (known !== undefined) return known
  const token = randomBytes(24).toString('base64url')
  writeCookie(request, reply, TOKEN_COOKIE, token)
  return token
}

/**
 * Behind the check of the origin, for browsers that send no such header: the form repeats the cookie, which no other
 * site can read, and over https none can set. Whoever has no cookie at all has nothing that another site could abuse.
 */
export function hasToken (request: FastifyRequest, token: string | null): boolean {
  const known = readCookie(request, TOKEN_COOKIE)
  if (known !== undefined) return token === known
  const { 'sec-fetch-site': site, origin, cookie } = request.headers
  return site !== undefined || origin !== undefined || cookie === undefined
}
