import type { FastifyRequest } from 'fastify'
import type { Bypass } from '../../types/index.ts'
import { parseAddress } from '../match/address.ts'
import { createBoundedMap } from '../util/bounded-map.ts'
import { clientOf } from '../util/client-ip.ts'
import { cookieName, findCookie } from '../util/cookie.ts'
import { headerOf } from '../util/header.ts'
import type { BypassSettings } from './settings.ts'
import type { Pass } from '../state/secret.ts'

/** Scripts send the secret in it. */
const BYPASS_HEADER = 'maintenance-bypass'

/** What the option `bypass` sets up. */
export interface BypassRules {
  readonly settings: BypassSettings
  /** With the prefix under which the plugin is registered. */
  readonly path: string
  readonly guesses: Guesses
}

/**
 * Does the request carry a valid bypass of this window, in a header or a cookie? Malformed values are ignored.
 * @param passes of all active windows: a secret of another one is not a wrong guess
 */
export function hasPass (
  request: FastifyRequest, pass: Pass, passes: readonly Pass[], { settings, guesses }: BypassRules, clock: () => number
): boolean {
  const { headers } = request.raw
  // by a fixed name first, see `clientOf`
  const secret = headers[BYPASS_HEADER] === undefined ? undefined : headerOf(request.raw, BYPASS_HEADER)
  if (secret !== undefined && guesses.check(request, passes, secret) && pass.isSecret(secret)) return true
  // read here, because @fastify/cookie may be registered later; most requests end at the cheap search for the name
  const cookie = headers.cookie === undefined ? undefined : headerOf(request.raw, 'cookie')
  if (cookie === undefined || !cookie.includes(settings.cookie)) return false
  return findCookie(cookie, cookieName(settings.cookie, request), value => isCookieOf(pass, value, clock())) !== null
}

/** Between the tokens of several windows in one cookie. */
const SEPARATOR = '~'
const TOKENS_MAX = 8

export const tokensOf = (value: string): string[] => value.split(SEPARATOR, TOKENS_MAX)
export const joinTokens = (tokens: readonly string[]): string => tokens.slice(0, TOKENS_MAX).join(SEPARATOR)

/** Almost always there is one token. */
const isCookieOf = (pass: Pass, value: string, now: number): boolean =>
  pass.isCookie(value, now) ||
  (value.includes(SEPARATOR) && tokensOf(value).some(token => pass.isCookie(token, now)))

/** Wrong secrets, by address. */
export interface Guesses {
  /** How many have been wrong so far. */
  readonly wrong: number
  /**
   * Is the secret one of these windows', and may this address still try? A request counts once, however often it is
   * decided on.
   */
  check (request: FastifyRequest, passes: readonly Pass[], secret: unknown): boolean
}

const WRONG_MAX = 20
const FORGET_AFTER = 60_000
const ADDRESSES_MAX = 10_000

/** The wrong secrets of one address since its first, ms. */
interface Attempts { wrong: number, readonly since: number }

/**
 * 192 bits are not guessed; this bounds what it costs to try. Addresses that have to wait are kept apart from those
 * that may still try: a flood of wrong secrets from many addresses drops the oldest of the latter, and frees nobody.
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
    check (request, passes, secret) {
      const client = networkOf(clientOf(request))
      const now = Date.now()
      const attempts = attemptsOf(client, now) ?? { wrong: 0, since: now }
      const waits = attempts.wrong >= WRONG_MAX
      if (!waits && passes.some(pass => pass.isSecret(secret))) return true
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

/** What the call that made it returns, once. */
export const bypassOf = (secret: string, path = DEFAULT_PATH): Bypass => ({ secret, path: `${path}#${secret}` })
