import type { FastifyRequest } from 'fastify'
import type { Bypass } from '../../types/index.ts'
import type { BypassSettings } from '../options.ts'
import type { Pass } from './secret.ts'

/** Scripts send the secret in it; and what testers see carries it, so that they know that the public sees something else. */
export const BYPASS_HEADER = 'maintenance-bypass'

/** More cookies of the same name than this nobody has. */
const COOKIES_MAX = 20

/** The browser takes a `__Host-` cookie over https only, for this host only, and lets no other host set it (RFC 6265bis section 4.1.3.2). */
export const cookieName = ({ cookie }: BypassSettings, request: FastifyRequest): string =>
  request.protocol === 'https' ? `__Host-${cookie}` : cookie

/** Does the request show that it may pass? Whatever is malformed shows nothing. */
export function hasPass (request: FastifyRequest, pass: Pass, settings: BypassSettings, guesses: Guesses, now: number): boolean {
  const { cookie, [BYPASS_HEADER]: secret } = request.raw.headers
  if (secret !== undefined && guesses.check(request, () => pass.isSecret(secret))) return true
  // read here, for @fastify/cookie may come later; the look for the name costs less than taking the header apart
  if (cookie === undefined || !cookie.includes(settings.cookie)) return false
  return someValue(cookie, cookieName(settings, request), value => pass.isCookie(value, now))
}

/**
 * Is a value of this name good? An older cookie of another path may stand before the right one. Reads the header once and
 * takes no more out of it than that: a tester's every request comes here.
 */
function someValue (header: string, name: string, isGood: (value: string) => boolean): boolean {
  for (let begin = 0, found = 0; begin < header.length && found < COOKIES_MAX;) {
    const semicolon = header.indexOf(';', begin)
    const end = semicolon === -1 ? header.length : semicolon
    while (isBlank(header.charCodeAt(begin))) begin++
    const equals = begin + name.length
    if (header.startsWith(name, begin) && header.charCodeAt(equals) === EQUALS) {
      if (isGood(header.slice(equals + 1, end).trim())) return true
      found++
    }
    begin = end + 1
  }
  return false
}

const EQUALS = 61
/** A space or a tab. */
const isBlank = (code: number): boolean => code === 32 || code === 9

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
