import { isMapped, parse4, parse6, parseAddress } from './address.ts'
import { compile4, compile6, type Blocks } from './cidr-trie.ts'

/**
 * Tells whether an address is ignored; `false` for anything that isn't an address. An IPv6 block never contains an IPv4
 * client, an IPv4 address written as IPv6 (`::ffff:a.b.c.d`) is that IPv4 address, and zones (`fe80::1%eth0`) are
 * ignored.
 */
export type IpMatcher = (ip: unknown) => boolean

export const IP_RULE_EXPECTED =
  "an address or a CIDR block such as '10.0.0.1', '10.0.0.0/8' or '2001:db8::/32' " +
  '(no port, wildcard or leading zero; not everybody: /0, or a mapped block of /96 or wider)'

/** Whether `compileIps` accepts the rule. */
export const isIpRule = (rule: unknown): rule is string => typeof rule === 'string' && parseRule(rule) !== null

/**
 * @param rules validated with `isIpRule`
 * @returns `null` if there are no rules, so that `request.ip` need not be read
 */
export function compileIps (rules: readonly string[]): IpMatcher | null {
  if (rules.length === 0) return null
  const holds4 = compile4(blocksOf(rules, 1))
  const holds6 = compile6(blocksOf(rules, 4))
  const words = new Uint32Array(4)

  return function isIgnoredIp (ip) {
    if (typeof ip !== 'string') return false
    const family = parseAddress(ip, words)
    if (family === 0) return false
    return family === 4 ? holds4(words[0] as number) : holds6(words)
  }
}

/** Parses the address into `words` (one for IPv4, four for IPv6); returns their number and the prefix length. */
function parseRule (rule: string, words = new Uint32Array(4)): { width: 1 | 4, prefix: number } | null {
  const slash = rule.indexOf('/')
  const end = slash === -1 ? rule.length : slash
  const asked = slash === -1 ? 128 : parsePrefix(rule, slash + 1)
  const v4 = parse4(rule, 0, end)
  if (v4 !== null) {
    words[0] = v4
    const prefix = slash === -1 ? 32 : asked
    return prefix >= 1 && prefix <= 32 ? { width: 1, prefix } : null
  }
  if (asked < 1 || asked > 128 || !parse6(rule, end, words)) return null
  if (!isMapped(words)) return { width: 4, prefix: asked }
  words[0] = words[3] as number
  return asked > 96 ? { width: 1, prefix: asked - 96 } : null
}

/** Reads digits without a leading zero; -1 for anything else. */
const parsePrefix = (rule: string, from: number): number =>
  /^[1-9]\d{0,2}$/.test(rule.slice(from)) ? Number(rule.slice(from)) : -1

/** Parses the rules of one family and skips the others. */
function blocksOf (rules: readonly string[], width: 1 | 4): Blocks {
  const words = new Uint32Array(rules.length * width)
  const prefixes = new Uint8Array(rules.length)
  const address = new Uint32Array(4)
  let count = 0
  for (const rule of rules) {
    const parsed = parseRule(rule, address)
    if (parsed === null || parsed.width !== width) continue
    for (let w = 0; w < width; w++) words[count * width + w] = (address[w] as number) & maskOf(parsed.prefix - w * 32)
    prefixes[count++] = parsed.prefix
  }
  return { width, words: words.subarray(0, count * width), prefixes: prefixes.subarray(0, count) }
}

/** The mask that keeps the first `bits` bits of a word. */
const maskOf = (bits: number): number => bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits)
