import type { FastifyRequest } from 'fastify'
import type { Bypass } from '../../types/index.ts'
import type { BypassSettings } from '../options.ts'
import type { Pass } from './secret.ts'

/** Scripts send the secret in it; and what testers see carries it, so that they know that the public sees something else. */
export const BYPASS_HEADER = 'maintenance-bypass'

/** More cookies of the same name than this nobody has. */
const COOKIES_MAX = 20

/** The browser takes a `__Host-` cookie over https only, for this host only, and lets no other host set it (RFC 6265bis section 4.1.3.2). */
export const cookieName = ({ cookie }: Pick<BypassSettings, 'cookie'>, request: FastifyRequest): string =>
  request.protocol === 'https' ? `__Host-${cookie}` : cookie

/** Does the request show that it may pass? Whatever is malformed shows nothing. */
export function hasPass (request: FastifyRequest, pass: Pass, settings: BypassSettings, guesses: Guesses, now: number): boolean {
  const { cookie, [BYPASS_HEADER]: secret } = request.raw.headers
  if (secret !== undefined && guesses.check(request, () => pass.isSecret(secret))) return true
  // read here, for @fastify/cookie may come later; the look for the name costs less than taking the header apart
  if (cookie === undefined || !cookie.includes(settings.cookie)) return false
  return valuesOf(cookie, cookieName(settings, request)).some(value => pass.isCookie(value, now))
}

/** All values of a name: an older cookie of another path may stand before the right one. */
export function valuesOf (header: string, name: string): string[] {
  return header.split(';')
    .map(pair => pair.trim())
    .filter(pair => pair.startsWith(`${name}=`))
    .slice(0, COOKIES_MAX)
    .map(pair => pair.slice(name.length + 1))
}

/** Wrong secrets, by address. */
export interface Guesses {
  /** How many were wrong so far. */
  readonly wrong: number
  /** Asks `isRight`, unless too many were wrong from this address. */
  check (request: FastifyRequest, isRight: () => boolean): boolean
}

const WRONG_MAX = 20
const FORGET_AFTER = 60_000
const ADDRESSES_MAX = 10_000

/** 192 bits are not guessed; this bounds what it costs to try. A flood of addresses costs no memory. */
export function createGuesses (): Guesses {
  const addresses = new Map<string, { wrong: number, since: number }>()
  let wrong = 0
  return {
    get wrong () { return wrong },
    check (request, isRight) {
      const address = String(request.ip)
      const now = Date.now()
      const known = addresses.get(address)
      const entry = known !== undefined && now - known.since < FORGET_AFTER ? known : { wrong: 0, since: now }
      if (entry.wrong < WRONG_MAX && isRight()) return true
      entry.wrong++
      wrong++
      if (addresses.size >= ADDRESSES_MAX) addresses.clear()
      addresses.set(address, entry)
      return false
    }
  }
}

export const DEFAULT_PATH = '/maintenance/bypass'

/** What is handed to who made it, once. */
export const bypassOf = (secret: string, path = DEFAULT_PATH): Bypass => ({ secret, path: `${path}#${secret}` })
