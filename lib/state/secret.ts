import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { createBoundedMap } from '../util/bounded-map.ts'

/** A secret for one window: 192 random bits, in letters that need no escape in a URL. */
export const makeSecret = (): string => randomBytes(24).toString('base64url')

/** What is stored of a secret: it tells whether one is right, and nothing about it. */
export const hashSecret = (windowId: string, secret: string): string =>
  createHmac('sha256', windowId).update(secret).digest('base64url')

/** How many genuine cookies are remembered, so that a tester's next connection costs one look into a `Map`. */
const SEEN_MAX = 1000

/** The bypass of one window. */
export interface Pass {
  /** Compares digests in constant time. Anything but the right secret is wrong. */
  isSecret (secret: unknown): boolean
  /** A cookie value that is good until `now` (ms) plus `ttl` (seconds). */
  makeCookie (now: number): string
  /** Until when (ms since 1970) the value of a cookie is good; 0: it is no cookie of this window. */
  expiryOf (value: string): number
}

/**
 * @param key of the fleet; without it, anyone who can read the store can make a cookie
 * @param hash as stored
 * @param ttl seconds
 */
export function createPass (
  { key = '', ttl }: { key?: string | undefined; ttl: number },
  windowId: string,
  hash: string
): Pass {
  const stored = Buffer.from(hash, 'base64url')
  const cookieKey = Buffer.from(hkdfSync('sha256', key, hash, `fastify-maintenance bypass ${windowId}`, 32))
  const seen = createBoundedMap<string, number>(SEEN_MAX)

  const sign = (text: string): Buffer => createHmac('sha256', cookieKey).update(text).digest()

  function verify (value: string): number {
    const parts = /^(v1\.(\d+)\.[A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/.exec(value)
    if (parts === null) return 0
    const [, signed = '', expiry, mac = ''] = parts
    // as text: the last letter of base64 has bits that decoding drops
    return equal(Buffer.from(sign(signed).toString('base64url')), Buffer.from(mac)) ? Number(expiry) * 1000 : 0
  }

  return {
    isSecret: secret =>
      typeof secret === 'string' && equal(Buffer.from(hashSecret(windowId, secret), 'base64url'), stored),
    makeCookie (now) {
      const signed = `v1.${Math.floor(now / 1000) + ttl}.${randomBytes(16).toString('base64url')}`
      return `${signed}.${sign(signed).toString('base64url')}`
    },
    expiryOf (value) {
      const known = seen.get(value)
      if (known !== undefined) return known
      const expiry = verify(value)
      if (expiry > 0) seen.set(value, expiry)
      return expiry
    }
  }
}

const equal = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b)
