import { fileURLToPath } from 'node:url'

/** What an address of a store may look like, in code and on the command line. */
export const ADDRESS_EXPECTED = 'redis://…, rediss://…, postgres://…, mysql://…, sqlite:PATH or file:PATH'

/** @returns the store at this address; `null` if the address is not valid */
export function parseAddress (address: string): { redis: string } | { sql: string } | { file: string } | null {
  if (isRedisAddress(address)) return { redis: address }
  if (isSqlAddress(address)) return { sql: address }
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

/** An address of a database. One that is in memory would be unknown to every other process. */
export function isSqlAddress (address: string): boolean {
  if (/^(postgres|postgresql|mysql|mariadb):\/\//.test(address)) {
    return URL.canParse(address) && isEncoded(new URL(address))
  }
  return /^sqlite:(?!\/\/[^/])./.test(address) && !/^sqlite:\s*$|:memory:|mode=memory/.test(address)
}

export function isRedisAddress (address: string): boolean {
  if (!/^rediss?:\/\//.test(address) || !URL.canParse(address)) return false
  const url = new URL(address)
  return /^\/?\d*$/.test(url.pathname) && isEncoded(url)
}

/** An `@` behind the host, or a stray `%`, is what is left of a password that was not encoded. */
const isEncoded = ({ search, hash, username, password }: URL): boolean =>
  !`${search}${hash}`.includes('@') && !/%(?![0-9a-f]{2})/i.test(username + password)

/** What is wrong with an address, in words that cannot contain its password. */
export function describeAddress (address: string): string {
  const [, scheme] = /^([a-z][a-z0-9+.-]*:\/\/)/i.exec(address) ?? []
  if (address.trim() === '') return 'empty'
  if (/^rediss?:/.test(address)) return 'a malformed address of Redis (encode its password with encodeURIComponent)'
  if (/^(postgres|postgresql|mysql|mariadb):\/\//.test(address)) {
    return 'a malformed address of a database (encode its password with encodeURIComponent)'
  }
  if (/^sqlite:.*(:memory:|mode=memory)/.test(address)) return 'a database in memory, which no other process can see'
  if (/^sqlite:\/\//.test(address)) {
    return "an address of SQLite with two slashes (expected 'sqlite:./app.db' or 'sqlite:/srv/app.db')"
  }
  if (scheme !== undefined) return `an address of ${scheme}`
  return /^\.{0,2}\//.test(address) ? `a path (did you mean 'file:${address}'?)` : 'text that is no address'
}
