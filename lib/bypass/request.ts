import type { FastifyRequest } from 'fastify'
import type { Bypass } from '../../types/index.ts'
import { parseAddress } from '../match/address.ts'
import { createBoundedMap } from '../util/bounded-map.ts'
import { clientOf } from '../util/client-ip.ts'
import { connectionOf } from '../util/connection.ts'
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
 * Makes a function that tells whether a request carries a valid bypass of this window, in a header or a cookie.
 * Malformed values are ignored. It also takes the secrets of all active windows, because the secret of another window
 * is not a wrong guess.
 */
export function createPassCheck (
  pass: Pass, { settings, guesses }: BypassRules, clock: () => number
): (request: FastifyRequest, passes: readonly Pass[]) => boolean {
  const hasCookie = createCookieCheck(pass, settings, clock)
  return (request, passes) => {
    // by a fixed name first, see `clientOf`
    const secret = request.raw.headers[BYPASS_HEADER] === undefined ? undefined : headerOf(request.raw, BYPASS_HEADER)
    if (secret !== undefined && guesses.check(request, passes, secret) && pass.isSecret(secret)) return true
    return hasCookie(request)
  }
}

/** The `Cookie` header that last let a request of a connection through, its cookie's name, and its expiry (ms). */
interface Accepted { readonly cookie: string, readonly name: string, readonly expiry: number }

/**
 * A browser sends the same cookies with each request. Comparing the header with the last one that was accepted on its
 * connection takes a fraction of the time of a search. A proxy may send http and https on one connection: then the name
 * differs.
 */
function createCookieCheck (
  pass: Pass, settings: BypassSettings, clock: () => number
): (request: FastifyRequest) => boolean {
  const accepted = new WeakMap<object, Accepted>()
  return request => {
    const { raw } = request
    // read here, because @fastify/cookie may be registered later
    const cookie = raw.headers.cookie === undefined ? undefined : headerOf(raw, 'cookie')
    if (cookie === undefined) return false
    const connection = connectionOf(raw)
    const name = cookieName(settings.cookie, request)
    const last = accepted.get(connection)
    if (last?.cookie === cookie && last.name === name && last.expiry > clock()) return true
    // most requests end at this cheap search for the name
    if (!cookie.includes(settings.cookie)) return false
    let expiry = 0
    const isGood = (value: string): boolean => (expiry = expiryOf(pass, value)) > clock()
    if (findCookie(cookie, name, isGood) === null) return false
    accepted.set(connection, { cookie, name, expiry })
    return true
  }
}

/** Between the tokens of several windows in one cookie. */
const SEPARATOR = '~'
const TOKENS_MAX = 8

export const tokensOf = (value: string): string[] => value.split(SEPARATOR, TOKENS_MAX)
export const joinTokens = (tokens: readonly string[]): string => tokens.slice(0, TOKENS_MAX).join(SEPARATOR)

/** Almost always there is one token. */
const expiryOf = (pass: Pass, value: string): number =>
  value.includes(SEPARATOR) ? Math.max(...tokensOf(value).map(pass.expiryOf)) : pass.expiryOf(value)

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
