/**
 * Addresses and CIDR blocks, compiled into sorted, merged intervals in typed arrays: a look-up costs
 * the same for one rule and for 100,000. An IPv6 block never holds an IPv4 client; an IPv4 address
 * written as IPv6 (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2) is that IPv4 address.
 */
export type IpMatcher = (ip: unknown) => boolean

export const IP_RULE_EXPECTED = "an address or a CIDR block such as '10.0.0.1', '10.0.0.0/8' or '2001:db8::/32' (no port, wildcard or leading zero; not everybody: /0, or a mapped block of /96 or wider)"

/** Is it a rule that `compileIps` takes? */
export const isIpRule = (rule: unknown): rule is string => typeof rule === 'string' && parseRule(rule) !== null

/** How many addresses are remembered, so that a client seen before costs one look into a `Map`. */
const SEEN_MAX = 4096
/** The longest IPv6 text with an embedded IPv4 address (45), and room for a zone. */
const TEXT_MAX = 64

/**
 * @param rules checked before with `isIpRule`
 * @returns `null` where there are no rules: nobody needs to read `request.ip` then
 */
export function compileIps (rules: readonly string[]): IpMatcher | null {
  const parsed = rules.map(parseRule).filter(rule => rule !== null)
  if (parsed.length === 0) return null
  const holds4 = compile4(parsed.filter(rule => rule.start.length === 1))
  const holds6 = compile6(parsed.filter(rule => rule.start.length === 4))
  const seen = new Map<string, boolean>()
  const address = new Uint32Array(4)

  return function isIgnoredIp (ip) {
    if (typeof ip !== 'string') return false
    const known = seen.get(ip)
    if (known !== undefined) return known
    if (ip.length > TEXT_MAX) return false
    const ignored = look(ip)
    if (seen.size >= SEEN_MAX) seen.clear()
    seen.set(ip, ignored)
    return ignored
  }

  function look (ip: string): boolean {
    const v4 = parse4(ip, 0, ip.length)
    if (v4 >= 0) return holds4(v4)
    const zone = ip.indexOf('%')
    if (!parse6(ip, zone === -1 ? ip.length : zone, address)) return false
    return isMapped(address) ? holds4(address[3] as number) : holds6(address)
  }
}

/** First and last address of a block: one 32-bit word for IPv4, four for IPv6. */
interface Interval { start: Uint32Array, end: Uint32Array }

function parseRule (rule: string): Interval | null {
  const slash = rule.indexOf('/')
  const length = slash === -1 ? rule.length : slash
  if (slash !== -1 && !/^[1-9]\d{0,2}$/.test(rule.slice(slash + 1))) return null
  const v4 = parse4(rule, 0, length)
  const words = v4 >= 0 ? Uint32Array.of(v4) : new Uint32Array(4)
  if (v4 < 0 && !parse6(rule, length, words)) return null
  const bits = words.length * 32
  const prefix = slash === -1 ? bits : Number(rule.slice(slash + 1))
  if (prefix > bits) return null
  if (words.length === 1 || !isMapped(words)) return block(words, prefix)
  return prefix > 96 ? block(words.slice(3), prefix - 96) : null
}

function block (words: Uint32Array, prefix: number): Interval {
  const mask = words.map((_, i) => {
    const bits = Math.min(Math.max(prefix - i * 32, 0), 32)
    return bits === 0 ? 0 : 0xffffffff << (32 - bits)
  })
  return {
    start: words.map((word, i) => word & (mask[i] as number)),
    end: words.map((word, i) => word | ~(mask[i] as number))
  }
}

const isMapped = (words: Uint32Array): boolean => words[0] === 0 && words[1] === 0 && words[2] === 0xffff

/** Dotted decimal, strictly four parts of 0 to 255 without leading zeros; -1 for anything else. */
function parse4 (text: string, from: number, to: number): number {
  if (to - from < 7 || to - from > 15) return -1
  let address = 0
  let part = -1
  let dots = 0
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit === -2) {
      if (part < 0 || ++dots > 3) return -1
      address = address * 256 + part
      part = -1
    } else if (digit < 0 || digit > 9 || part === 0) {
      return -1
    } else {
      part = part < 0 ? digit : part * 10 + digit
      if (part > 255) return -1
    }
  }
  return dots === 3 && part >= 0 ? address * 256 + part : -1
}

/** RFC 4291 section 2.2, all three forms, into four words; false where `text` up to `to` is no address. */
function parse6 (text: string, to: number, words: Uint32Array): boolean {
  if (to < 2 || to > 45) return false
  words.fill(0)
  let groups = 0
  let gap = -1
  let at = 0
  if (text.charCodeAt(0) === 58) {
    if (text.charCodeAt(1) !== 58) return false
    gap = 0
    at = 2
  }
  while (at < to) {
    if (groups === 8) return false
    const begin = at
    let group = 0
    let digit = hexDigit(text.charCodeAt(at))
    while (digit >= 0 && at < to) {
      group = group * 16 + digit
      digit = hexDigit(text.charCodeAt(++at))
    }
    if (at < to && text.charCodeAt(at) === 46) {
      const tail = parse4(text, begin, to)
      if (tail < 0 || groups > 6) return false
      putGroup(words, groups++, tail >>> 16)
      putGroup(words, groups++, tail & 0xffff)
      at = to
      break
    }
    if (at === begin || at - begin > 4) return false
    putGroup(words, groups++, group)
    if (at === to) break
    if (text.charCodeAt(at++) !== 58 || at === to) return false
    if (text.charCodeAt(at) === 58) {
      if (gap !== -1) return false
      gap = groups
      at++
    }
  }
  if (gap === -1) return groups === 8
  return groups < 8 && openGap(words, gap, groups)
}

function hexDigit (code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

const getGroup = (words: Uint32Array, i: number): number => ((words[i >> 1] as number) >>> (i & 1 ? 0 : 16)) & 0xffff

function putGroup (words: Uint32Array, i: number, value: number): void {
  const shift = i & 1 ? 0 : 16
  words[i >> 1] = ((words[i >> 1] as number) & ~(0xffff << shift)) | (value << shift)
}

/** Moves the groups behind `::` to the end and fills the gap with zeros. */
function openGap (words: Uint32Array, gap: number, groups: number): boolean {
  for (let i = groups - 1, target = 7; i >= gap; i--, target--) {
    putGroup(words, target, getGroup(words, i))
    putGroup(words, i, 0)
  }
  return true
}

function compare (a: Uint32Array, b: Uint32Array, at = 0): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] as number) - (b[at + i] as number)
    if (difference !== 0) return difference
  }
  return 0
}

/** Sorted by start; overlapping and equal blocks become one. CIDR blocks nest or are apart, so an end never moves. */
function merge (intervals: Interval[]): Interval[] {
  const merged: Interval[] = []
  for (const interval of intervals.sort((a, b) => compare(a.start, b.start) || compare(b.end, a.end))) {
    const last = merged.at(-1)
    if (last === undefined || compare(interval.start, last.end) > 0) merged.push(interval)
  }
  return merged
}

/** Behind an index by the first 16 bits, few intervals are left to search. */
function compile4 (intervals: Interval[]): (ip: number) => boolean {
  const merged = merge(intervals)
  if (merged.length === 0) return () => false
  const starts = Uint32Array.from(merged, interval => interval.start[0] as number)
  const ends = Uint32Array.from(merged, interval => interval.end[0] as number)
  const index = new Uint32Array(65537).fill(merged.length)
  for (let high = 0, i = 0; high <= 65535; high++) {
    while (i < ends.length && (ends[i] as number) < high * 65536) i++
    index[high] = i
  }
  return function holds4 (ip) {
    let low = index[ip >>> 16] as number
    let high = index[(ip >>> 16) + 1] as number
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((ends[middle] as number) < ip) low = middle + 1
      else high = middle
    }
    return low < starts.length && (starts[low] as number) <= ip
  }
}

function compile6 (intervals: Interval[]): (ip: Uint32Array) => boolean {
  const merged = merge(intervals)
  if (merged.length === 0) return () => false
  const starts = new Uint32Array(merged.length * 4)
  const ends = new Uint32Array(merged.length * 4)
  merged.forEach((interval, i) => {
    starts.set(interval.start, i * 4)
    ends.set(interval.end, i * 4)
  })
  return function holds6 (ip) {
    let low = 0
    let high = merged.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compare(ip, ends, middle * 4) > 0) low = middle + 1
      else high = middle
    }
    return low < merged.length && compare(ip, starts, low * 4) >= 0
  }
}
