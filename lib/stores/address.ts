import { fileURLToPath } from 'node:url'

/** What an address of a store may look like, in code and on the command line. */
export const ADDRESS_EXPECTED = 'redis://…, rediss://… or file:PATH'

/** @returns the store at this address, `null` if it is none that we know */
export function parseAddress (address: string): { redis: string } | { file: string } | null {
  if (isRedisAddress(address)) return { redis: address }
  const file = address.startsWith('file://') ? toPath(address) : address.replace(/^file:/, '')
  return file.trim() === '' || file === address ? null : { file }
}

function toPath (url: string): string {
  try {
    return fileURLToPath(url)
  } catch {
    return ''
  }
}

/** An `@` behind the host, or a stray `%`, is what is left of a password that was not encoded. */
export function isRedisAddress (address: string): boolean {
  if (!/^rediss?:\/\//.test(address) || !URL.canParse(address)) return false
  const { pathname, search, hash, username, password } = new URL(address)
  return /^\/?\d*$/.test(pathname) && !`${search}${hash}`.includes('@') && !/%(?![0-9a-f]{2})/i.test(username + password)
}

/** What is wrong with an address, in words that cannot contain its password. */
export function describeAddress (address: string): string {
  const [, scheme] = /^([a-z][a-z0-9+.-]*:\/\/)/i.exec(address) ?? []
  if (address.trim() === '') return 'empty'
  if (/^rediss?:/.test(address)) return 'a malformed address of Redis (encode its password with encodeURIComponent)'
  if (scheme !== undefined) return `an address of ${scheme}`
  return /^\.{0,2}\//.test(address) ? `a path (did you mean 'file:${address}'?)` : 'text that is no address'
}
