/**
 * Parses IPv4 and IPv6 addresses strictly, without allocating: character by character, into 32-bit words.
 */

/**
 * Parses dotted decimal: exactly four parts of 0 to 255 without leading zeros.
 * @returns the address as a signed integer, which V8 stores without allocating; `null` if the text is not an address
 */
export function parse4 (text: string, from: number, to: number): number | null {
  if (to - from < 7 || to - from > 15) return null
  let address = 0
  let at = from
  let next = POINT
  for (let part = 1; part <= 4; part++) {
    if (next !== POINT || at === to) return null
    // the one to three digits of a part, unrolled: a loop is slower by a third
    const first = text.charCodeAt(at++) - 48
    if (first < 0 || first > 9) return null
    let value = first
    next = at < to ? text.charCodeAt(at++) - 48 : END
    if (next >= 0 && next <= 9) {
      if (first === 0) return null
      value = value * 10 + next
      next = at < to ? text.charCodeAt(at) - 48 : END
      if (next > 9) return null
      // the processor cannot predict whether there is a third digit, so avoid the branch
      const none = next >> 31
      value += value * 9 + next & ~none
      if (value > 255) return null
      at += 1 + none
      next = at < to ? text.charCodeAt(at++) - 48 : END
    }
    address = address << 8 | value
  }
  return next === END ? address : null
}

const POINT = '.'.charCodeAt(0) - 48
/** Not the value of any character. */
const END = -100

/**
 * Parses all three forms of RFC 4291 section 2.2 into four words.
 * @returns `false` if `text` up to `to` is not an address
 */
export function parse6 (text: string, to: number, words: Uint32Array): boolean {
  // the longest form has an embedded IPv4 address
  if (to < 2 || to > 45) return false
  const leading = text.charCodeAt(0) === COLON
  if (leading && text.charCodeAt(1) !== COLON) return false
  let gap = -1
  let count = 0
  let group = 0
  let digits = 0
  for (let at = leading ? 1 : 0; at < to; at++) {
    const code = text.charCodeAt(at)
    const digit = code < 128 ? HEX[code] as number : -1
    if (digit >= 0) {
      if (++digits > 4) return false
      group = group << 4 | digit
    } else if (code === COLON) {
      if (digits > 0) {
        if (count === 7) return false
        groups[count++] = group
        // a single colon must not end the address
        if (at + 1 === to) return false
      } else {
        if (gap !== -1) return false
        gap = count
      }
      group = digits = 0
    } else {
      return code === DOT && count <= 6 && parseTail(text, at - digits, to, count) && toWords(words, gap, count + 2)
    }
  }
  if (digits > 0) groups[count++] = group
  return toWords(words, gap, count)
}

const COLON = 58
const DOT = 46

/** The value of each hexadecimal digit by its character code; -1 for other characters. */
const HEX = Int8Array.from({ length: 128 }, (_, code) =>
  '0123456789abcdef'.indexOf(String.fromCharCode(code).toLowerCase()))

/** The 16-bit groups read so far; shared, since only one address is parsed at a time. */
const groups = new Uint16Array(8)

/** Reads the IPv4 address at the end of `::ffff:10.0.0.1` as two groups. */
function parseTail (text: string, from: number, to: number, count: number): boolean {
  const tail = parse4(text, from, to)
  if (tail === null) return false
  groups[count] = tail >>> 16
  groups[count + 1] = tail
  return true
}

/** Moves the groups after the gap (`::`) to the end, fills the gap with zeros, and joins the groups into words. */
function toWords (words: Uint32Array, gap: number, count: number): boolean {
  if (gap === -1 ? count !== 8 : count > 7) return false
  if (gap !== -1) {
    groups.copyWithin(gap + 8 - count, gap, count)
    groups.fill(0, gap, gap + 8 - count)
  }
  for (let w = 0; w < 4; w++) words[w] = (groups[w * 2] as number) << 16 | (groups[w * 2 + 1] as number)
  return true
}

/** An IPv4 address written as IPv6, `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2). */
export const isMapped = (words: Uint32Array): boolean => words[0] === 0 && words[1] === 0 && words[2] === 0xffff

/** The longest address has 45 characters; the rest is room for a zone. */
const TEXT_MAX = 64

/** A link-local address with a zone, the name of a network interface. */
const ZONE = /^[^%]+%[\w.:-]+$/

/**
 * Parses an address of either family into `words`: one word for IPv4, four for IPv6. Zones are
 * ignored, and an IPv4 address written as IPv6 is IPv4.
 * @returns the family; 0 if `text` isn't an address
 */
export function parseAddress (text: string, words: Uint32Array): 0 | 4 | 6 {
  if (text.length > TEXT_MAX) return 0
  const v4 = parse4(text, 0, text.length)
  if (v4 !== null) {
    words[0] = v4
    return 4
  }
  const zone = text.indexOf('%')
  if (zone !== -1 && !ZONE.test(text)) return 0
  if (!parse6(text, zone === -1 ? text.length : zone, words)) return 0
  if (!isMapped(words)) return 6
  words[0] = words[3] as number
  return 4
}
