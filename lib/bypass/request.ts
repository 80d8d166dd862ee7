import type { FastifyRequest } from 'fastify'
import type { Bypass } from '../../types/index.ts'
import { parseAddress } from '../match/address.ts'
import { createBoundedMap } from '../util/bounded-map.ts'
import { clientOf } from '../util/client-ip.ts'
import { headerOf } from '../util/header.ts'
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
  const { raw } = request
  const secret = headerOf(raw, BYPASS_HEADER)
  if (secret !== undefined && guesses.check(request, () => pass.isSecret(secret))) return true
  // read here, for @fastify/cookie may come later; the look for the name costs less than taking the header apart
  const cookie = headerOf(raw, 'cookie')
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
  /** How many have been wrong so far. */
  readonly wrong: number
  /** Asks `isRight`, unless this address has to wait. A request counts once, however often it is decided on. */
  check (request: FastifyRequest, isRight: () => boolean): boolean
}

const WRONG_MAX = 20
const FORGET_AFTER = 60_000
const ADDRESSES_MAX = 10_000

/** The wrong secrets of one address since its first, ms. */
interface Attempts { wrong: number, readonly since: number }

/**
 * 192 bits are not guessed; this bounds what it costs to try. Addresses that have to wait are kept apart from those that
 * may still try: a flood of wrong secrets from many addresses drops the oldest of the latter, and frees nobody.
 */
export function createGuesses (): Guesses {
  const trying = createBoundedMap<number | string, Attempts>(ADDRESSES_MAX)
  const waiting = createBoundedMap<number | string, Attempts>(ADDRESSES_MAX)
  const counted = new WeakSet<FastifyRequest>()
  let wrong = 0

  function attemptsOf (client: number | string, now: number): Attempts | undefined {
    const attempts = waiting.get(client) ?? trying.get(client)
    return attempts !== undefined && now - attempts.since < FORGET_AFTER ? attempts : undefined
  }

  function count (client: number | string, { wrong, since }: Attempts): void {
    const [from, to] = wrong + 1 < WRONG_MAX ? [waiting, trying] : [trying, waiting]
    from.delete(client)
    to.set(client, { wrong: wrong + 1, since })
  }

  return {
    get wrong () { return wrong },
    check (request, isRight) {
      const client = networkOf(clientOf(request))
      const now = Date.now()
      const attempts = attemptsOf(client, now) ?? { wrong: 0, since: now }
      const waits = attempts.wrong >= WRONG_MAX
      if (!waits && isRight()) return true
      if (counted.has(request)) return false
      counted.add(request)
      wrong++
      if (!waits) count(client, attempts)
      return false
    }
  }
}

const words = new Uint32Array(4)

/**
 * An IPv4 address as a number, in either spelling; the /64 of an IPv6 address, for one customer has at least that many.
 * Some proxies add a port. Whatever isn't an address counts as one.
 */
function networkOf (client = ''): number | string {
  const [, bracketed, plain = client] = /^(?:\[(.*)\]|([^:]*))(?::\d+)?$/.exec(client) ?? []
  const family = parseAddress(bracketed ?? plain, words)
  if (family === 4) return words[0] as number
  return family === 6 ? `${words[0]}:${words[1]}` : ''
}

export const DEFAULT_PATH = '/maintenance/bypass'

/** What is handed to who made it, once. */
export const bypassOf = (secret: string, path = DEFAULT_PATH): Bypass => ({ secret, path: `${path}#${secret}` })
