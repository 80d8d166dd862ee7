/** Parses regular expressions into sequences of items, each with the set of characters it matches and its cost. */

/** Thrown with the reason why an expression is not accepted. */
export class Refusal extends Error {}
export const unsupported = (what: string): Refusal => new Refusal(`unsupported: ${what}`)

/**
 * A character of a set, a group, or an assertion, with its quantifier. An assertion (`\b`, a lookahead) consumes
 * nothing: its `max` is 0. `$` is a character of the empty set.
 */
export interface Item {
  readonly set: bigint
  /** The alternatives of a group or a lookahead. */
  readonly options: readonly Item[][] | null
  readonly min: number
  readonly max: number
  /** How many characters the engine compares to match the item once, groups aside. */
  readonly checks: number
}

const ASSERTION: Item = { set: 0n, options: null, min: 0, max: 0, checks: 1 }

export const isAssertion = ({ max }: Item): boolean => max === 0

/**
 * Sets of ASCII characters by their codes, and one bit for all other characters. A set may contain more characters
 * than the engine's (the other case of a letter even without the flag i), but never fewer.
 */
const OTHERS = 1n << 128n
const ALL = (OTHERS << 1n) - 1n
const CLASSES = { d: /\d/, D: /\D/, w: /\w/, W: /\W/, s: /\s/, S: /\S/ }
const SETS = new Map(Object.entries(CLASSES).map(([name, expression]) => [name, setOf(expression)]))
const UPPER = setOf(/[A-Z]/)
const LOWER = setOf(/[a-z]/)
/** With the flags i and u, these letters also match the Kelvin sign and the long s. */
const FOLDED = setOf(/[ksKS]/)

function setOf (expression: RegExp): bigint {
  let set = expression.test('\u00a0') || expression.test('\u0100') ? OTHERS : 0n
  for (let code = 0; code < 128; code++) if (expression.test(String.fromCharCode(code))) set |= bit(code)
  return set
}

/** The codes of escapes such as \n. */
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 }

function bit (code: number): bigint {
  return code < 128 ? 1n << BigInt(code) : OTHERS
}

/**
 * V8 compiles a class with the flag u, if it reaches beyond ASCII, into exclusive alternatives
 * (RegExpClassRanges::ToNode in regexp-compiler-tonode.cc): other characters of the BMP (1 comparison), surrogate
 * pairs (2 for each alternative), a lead surrogate without a trail (2), and a trail without a lead (2). Since only
 * one of them can match, they add comparisons but no ways to match.
 */
const BEYOND_ASCII = 5
/** A range beyond the BMP becomes at most three alternatives of pairs, with two comparisons each. */
const RANGE = 6
/**
 * With the flag i, a range also gets the other case of its letters. Blocks that it covers contain both cases already;
 * the at most two blocks that it cuts add at most eight ranges (Vithkuqi, the most scattered one, has four runs).
 */
const RANGE_IGNORING_CASE = 9 * RANGE
/** No property has more than 500 alternatives of pairs, as test/match-regexp.test.ts counts them. */
const PROPERTY = 1000
/** With the flags i and u, V8 tests a `\b` by a class on either side. */
const BOUNDARY = 4 * (BEYOND_ASCII + RANGE)

/** One character, or a set of them: `code` is `NaN` for a set, such as \d. */
interface Character {
  readonly code: number
  readonly set: bigint
  readonly checks: number
}

interface Alternative {
  readonly anchored: boolean
  readonly items: Item[]
}

/** @throws {Refusal} for syntax that is not supported. */
export function parse (source: string, flags: string): Alternative[] {
  const unicode = flags.includes('u')
  const range = flags.includes('i') ? RANGE_IGNORING_CASE : RANGE
  let at = 0
  const options: Alternative[] = []
  do options.push({ anchored: eat('^'), items: parseSequence() }); while (eat('|'))
  return options

  function eat (text: string): boolean {
    if (!source.startsWith(text, at)) return false
    at += text.length
    return true
  }

  /** Consumes what `expression` matches at this position; it has the flag y. */
  function eatMatch (expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = at
    const match = expression.exec(source)
    at += match?.[0].length ?? 0
    return match
  }

  function parseSequence (): Item[] {
    const items: Item[] = []
    while (at < source.length && !/[|)]/.test(source.charAt(at))) items.push(parseItem())
    return items
  }

  function parseItem (): Item {
    if (eatMatch(/\\[bB]/y) !== null) return { ...ASSERTION, checks: unicode ? BOUNDARY : 2 }
    if (eatMatch(/\(\?[=!]/y) !== null) return parseLookahead()
    if (eatMatch(/\(\?<[=!]/y) !== null) throw unsupported('lookbehind')
    if (eat('(')) return { ...ASSERTION, options: parseGroup(), ...parseQuantifier() }
    return { options: null, ...parseSet(), ...parseQuantifier() }
  }

  function parseLookahead (): Item {
    const item = { ...ASSERTION, options: parseOptions() }
    if (/^[*+?{]/.test(source.slice(at))) throw unsupported('a quantifier after a lookahead')
    return item
  }

  function parseGroup (): Item[][] {
    eatMatch(/\?(?::|<[^>]*>)/y)
    return parseOptions()
  }

  function parseOptions (): Item[][] {
    const options: Item[][] = []
    do options.push(parseSequence()); while (eat('|'))
    eat(')')
    return options
  }

  function parseQuantifier (): { min: number, max: number } {
    const match = eatMatch(/(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/y)
    if (match === null) return { min: 1, max: 1 }
    const [, short, from, comma, to] = match
    if (short !== undefined) return { min: short === '+' ? 1 : 0, max: short === '?' ? 1 : Infinity }
    return { min: Number(from), max: comma === '' ? Number(from) : Number(to || Infinity) }
  }

  function parseSet (): { set: bigint, checks: number } {
    if (eat('$')) return { set: 0n, checks: 1 }
    if (eat('.')) return { set: ALL, checks: unicode ? BEYOND_ASCII + RANGE : 1 }
    if (eat('[')) return parseClass()
    const [stray] = /^[\^{}\]*+?]/.exec(source.slice(at)) ?? []
    if (stray === '^') throw unsupported('a ^ that is not at the beginning')
    if (stray !== undefined) throw unsupported(`a ${stray} without a backslash`)
    const { set, checks } = parseCharacter()
    return { set: withCases(set), checks: 1 + (checks > 0 ? BEYOND_ASCII + checks : 0) }
  }

  function parseClass (): { set: bigint, checks: number } {
    const negated = eat('^')
    let set = 0n
    let checks = negated && unicode ? RANGE : 0
    while (!eat(']')) {
      const first = eat('\\b') ? { code: 8, set: bit(8), checks: 0 } : parseCharacter()
      const member = /^-[^\]]/.test(source.slice(at, at + 2)) ? parseRange(first.code) : first
      set |= member.set
      checks += member.checks
    }
    return {
      // a negated class must not lose more than the engine takes away: no other case, and no character beyond ASCII
      set: negated ? (ALL & ~set) | OTHERS : withCases(set),
      checks: 1 + (checks > 0 ? BEYOND_ASCII + checks : 0)
    }
  }

  function parseRange (from: number): Character {
    at++
    const to = parseCharacter().code
    if (Number.isNaN(from + to)) throw unsupported('a range to or from a class')
    let set = bit(to)
    for (let code = from; code < Math.min(to, 128); code++) set |= bit(code)
    return { code: NaN, set, checks: checksOf(set, range) }
  }

  function parseCharacter (): Character {
    const code = source.charAt(at) === '\\' ? parseCode() : readCharacter()
    if (code !== null) return { code, set: bit(code), checks: checksOf(bit(code), range) }
    const [property] = unicode ? eatMatch(/\\[pP]\{[^}]+\}/y) ?? [] : []
    if (property !== undefined) {
      return { code: NaN, set: setOf(new RegExp(property, 'u')) | OTHERS, checks: PROPERTY }
    }
    at++
    const letter = source.charAt(at++)
    const set = SETS.get(letter)
    if (set !== undefined) return { code: NaN, set, checks: checksOf(set, RANGE) }
    if (/[1-9k]/.test(letter)) throw unsupported('backreferences')
    if (/[A-Za-z0-9]/.test(letter)) throw unsupported(`the escape \\${letter}`)
    return { code: letter.charCodeAt(0), set: bit(letter.charCodeAt(0)), checks: 0 }
  }

  /** An escape that stands for one character by its number or as a control character. */
  function parseCode (): number | null {
    const pair = unicode ? eatMatch(/\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})/y) : null
    if (pair !== null) return JSON.parse(`"${pair[0]}"`).codePointAt(0)
    const point = unicode ? eatMatch(/\\u\{([0-9a-fA-F]+)\}/y) : null
    const number = point ?? eatMatch(/\\x([0-9a-fA-F]{2})/y) ?? eatMatch(/\\u([0-9a-fA-F]{4})/y)
    if (number !== null) return parseInt(number[1] as string, 16)
    const control = eatMatch(/\\([tnvfr])/y)
    return control === null ? null : CONTROLS[control[1] as string] as number
  }

  function readCharacter (): number {
    const code = unicode ? source.codePointAt(at) as number : source.charCodeAt(at)
    at += code > 0xffff ? 2 : 1
    return code
  }

  function withCases (set: bigint): bigint {
    const folded = unicode && (set & FOLDED) !== 0n ? OTHERS : 0n
    return set | (set & UPPER) << 32n | (set & LOWER) >> 32n | folded
  }

  /** Without the flag u, a class compares one code unit. */
  function checksOf (set: bigint, range: number): number {
    return unicode && (set & OTHERS) !== 0n ? range : 0
  }
}
