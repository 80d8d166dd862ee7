import type { FastifyRequest } from 'fastify'
import type { Bypass } from '../../types/index.ts'
import { clientOf } from '../util/client-ip.ts'
import type { BypassSettings } from '../options.ts'
import type { Pass } from './secret.ts'

/** Scripts send the secret in it. */
const BYPASS_HEADER = 'maintenance-bypass'

/** More cookies of the same name than this nobody has. */
const COOKIES_MAX = 20

/** The browser takes a `__Host-` cookie over https only, for this host only, and lets no other host set it (RFC 6265bis section 4.1.3.2). */
export const cookieName = ({ cookie }: Pick<BypassSettings, 'cookie'>, request: FastifyRequest): string =>
  request.protocol === 'https' ? `__Host-${cookie}` : cookie

/** Does the request show that it may pass? Whatever is malformed shows nothing. Who has no cookie does not pay for a look at the clock. */
export function hasPass (request: FastifyRequest, pass: Pass, settings: BypassSettings, guesses: Guesses, clock: () => number): boolean {
  const { headers } = request.raw
  const secret = headers[BYPASS_HEADER]
  if (secret !== undefined && guesses.check(request, () => pass.isSecret(secret))) return true
  // read here, for @fastify/cookie may come later; the look for the name costs less than taking the header apart
  const { cookie } = headers
  if (cookie === undefined || !cookie.includes(settings.cookie)) return false
  return findCookie(cookie, cookieName(settings, request), value => pass.isCookie(value, clock())) !== null
}

/**
 * The first value of this name that is good: an older cookie of another path may stand before the right one. Takes no more
 * out of the header than that: a tester's every request comes here, and 16 KB of semicolons cost as little as any other header.
 */
export function findCookie (header: string, cookie: string, isGood: (value: string) => boolean): string | null {
  const name = `${cookie}=`
  let found = 0
  for (let at = header.indexOf(name); at !== -1 && found < COOKIES_MAX; at = header.indexOf(name, at + 1)) {
    if (!isBegin(header, at)) continue
    found++
    const end = header.indexOf(';', at)
    const value = header.slice(at + name.length, end === -1 ? header.length : end).trimEnd()
    if (isGood(value)) return value
  }
  return null
}

/** Does a cookie begin here: behind nothing but blanks and the one before? */
function isBegin (header: string, at: number): boolean {
  let before = at - 1
  while (isBlank(header.charCodeAt(before))) before--
  return before === -1 || header.charCodeAt(before) === SEMICOLON
}

const SEMICOLON = 59
/** A space or a tab. */
const isBlank = (code: number): boolean => code === 32 || code === 9

/** Wrong secrets, by address. */
export interface Guesses {
  /** How many were wrong so far. */
  readonly wrong: number
  /** Asks `isRight`, unless too many were wrong from this address. A request counts once, however often it is decided on. */
  check (request: FastifyRequest, isRight: () => boolean): boolean
}

const WRONG_MAX = 20
const FORGET_AFTER = 60_000
const ADDRESSES_MAX = 10_000

/** 192 bits are not guessed; this bounds what it costs to try. A flood of addresses costs no memory. */
export function createGuesses (): Guesses {
  const addresses = new Map<string | undefined, { wrong: number, since: number }>()
  const counted = new WeakSet<FastifyRequest>()
  let wrong = 0
  return {
    get wrong () { return wrong },
    check (request, isRight) {
      const address = clientOf(request)
      const now = Date.now()
      const known = addresses.get(address)
      const entry = known !== undefined && now - known.since < FORGET_AFTER ? known : { wrong: 0, since: now }
      if (entry.wrong < WRONG_MAX && isRight()) return true
      if (counted.has(request)) return false
      counted.add(request)
      entry.wrong++
      wrong++
      if (known === undefined && addresses.size >= ADDRESSES_MAX) addresses.clear()
      addresses.set(address, entry)
      return false
    }
  }
}

export const DEFAULT_PATH = '/maintenance/bypass'

/** What is handed to who made it, once. */
export const bypassOf = (secret: string, path = DEFAULT_PATH): Bypass => ({ secret, path: `${path}#${secret}` })
