/**
 * Which regular expressions may look at a path that the client chose? V8's engine backtracks: the number of its
 * steps can grow with a power of the path's length. Taken is only what provably needs steps in proportion to it.
 */
export const EXPRESSION_EXPECTED = "a RegExp without the flags g, y, m and v that is linear in time: it begins with ^ if it holds *, + or {n,}; repeats characters and classes, groups only a few times and without repetition in them; of two open-ended repetitions the first ends where the text behind it begins, as [^/]+ before a '/'; no lookaround, \\b, backreference or \\p"

/** Is it of a shape that takes a time in proportion to the length of the path? */
export const isLinear = (expression: RegExp): boolean => Number.isFinite(weigh(expression))

/** The most steps that it takes for each character of a path; `Infinity` where it cannot be told. */
export function weigh ({ source, flags }: RegExp): number {
  if (/[gymv]/.test(flags)) return Infinity
  try {
    const options = parse(source, flags.includes('u'))
    const costs = options.map(option => costOf(option.items, 0n))
    if (options.some((option, i) => !option.anchored && (costs[i] as Cost).open)) return Infinity
    const { ways, size } = either(options.map(option => option.items), costs)
    // with u, the engine tries a pair of surrogates, and each half alone, wherever a class may hold one
    const weight = ways * size * (flags.includes('u') ? 3 : 1)
    return weight > WEIGHT_MAX ? Infinity : weight
  } catch {
    return Infinity
  }
}

const WEIGHT_MAX = 1000
/** More repetitions than these count as open-ended. */
const FEW = 16
const REFUSED = Symbol('refused')

/** A character of a set, or a group of alternatives, and how often. `$` is a character of the empty set. */
interface Item { readonly set: bigint, readonly options: readonly Item[][] | null, readonly min: number, readonly max: number }

interface Cost {
  /** In how many ways it can match from one place on, an open-ended repetition aside. */
  readonly ways: number
  /** How many characters are compared on one way, likewise. */
  readonly size: number
  /** Does it hold an open-ended repetition? */
  readonly open: boolean
  /** And one that can end in many places, so that what comes behind it is tried from all of them? */
  readonly wild: boolean
}

/** @param follow what may come behind the sequence */
function costOf (items: readonly Item[], follow: bigint): Cost {
  let cost: Cost = { ways: 1, size: 1, open: false, wild: false }
  items.forEach((item, i) => {
    const next = costOfItem(item, firstOf(items.slice(i + 1), follow))
    if (cost.wild && next.open) throw REFUSED
    cost = { ways: cost.ways * next.ways, size: cost.size + next.size, open: cost.open || next.open, wild: cost.wild || next.wild }
  })
  return cost
}

function costOfItem ({ set, options, min, max }: Item, follow: bigint): Cost {
  if (options !== null) return costOfGroup(options, min, max, follow)
  const open = max > FEW
  // where the set and what follows are apart, a repetition can end in one place only
  const apart = min === max || (set & follow) === 0n
  return { ways: apart || open ? 1 : max - min + 1, size: Math.min(max, FEW), open, wild: open && !apart }
}

function costOfGroup (options: readonly Item[][], min: number, max: number, follow: bigint): Cost {
  const once = either(options, options.map(option => costOf(option, follow)))
  if (max > 1 && (once.open || max > FEW || options.some(hasRepetition))) throw REFUSED
  let ways = 0
  for (let times = min; times <= max; times++) ways += once.ways ** times
  return { ...once, ways, size: once.size * max }
}

/** One of several: all are tried, but of those that differ in a character only one can match. */
function either (options: readonly (readonly Item[])[], costs: readonly Cost[]): Cost {
  const apart = options.every((a, i) => options.slice(i + 1).every(b => areApart(a, b)))
  const ways = costs.map(cost => cost.ways)
  return {
    ways: apart ? Math.max(...ways) : ways.reduce((sum, way) => sum + way, 0),
    size: costs.reduce((sum, cost) => sum + cost.size, 0),
    open: costs.some(cost => cost.open),
    wild: costs.some(cost => cost.wild)
  }
}

function areApart (a: readonly Item[], b: readonly Item[]): boolean {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const [x, y] = [a[i] as Item, b[i] as Item]
    if (!isSingle(x) || !isSingle(y)) return false
    if ((x.set & y.set) === 0n) return true
  }
  return false
}

const isSingle = ({ options, min, max }: Item): boolean => options === null && min === 1 && max === 1
const hasRepetition = (items: readonly Item[]): boolean => items.some(({ options, min, max }) => min !== max || (options?.some(hasRepetition) ?? false))
const isNullable = ({ options, min }: Item): boolean => min === 0 || (options?.some(option => option.every(isNullable)) ?? false)

/** The characters with which a sequence, or what follows it, can begin. */
function firstOf (items: readonly Item[], follow: bigint): bigint {
  let first = 0n
  for (const item of items) {
    first |= item.options === null ? item.set : item.options.reduce((set, option) => set | firstOf(option, 0n), 0n)
    if (!isNullable(item)) return first
  }
  return first | follow
}

/**
 * Sets of ASCII characters by their codes, and one bit for all others. A set may hold more than the engine's
 * (the other case of a letter, as the flag i has it), never less.
 */
const OTHERS = 1n << 128n
const ALL = (OTHERS << 1n) - 1n
const SETS = new Map(Object.entries({ d: /\d/, D: /\D/, w: /\w/, W: /\W/, s: /\s/, S: /\S/ }).map(([name, set]) => [name, setOf(set)]))
const UPPER = setOf(/[A-Z]/)
const LOWER = setOf(/[a-z]/)
/** With the flags i and u, these letters are also the Kelvin sign and the long s. */
const FOLDED = setOf(/[ksKS]/)

function setOf (expression: RegExp): bigint {
  let set = expression.test('\u00a0') || expression.test('\u0100') ? OTHERS : 0n
  for (let code = 0; code < 128; code++) if (expression.test(String.fromCharCode(code))) set |= bit(code)
  return set
}

/** Escapes by letter. */
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 }

function bit (code: number): bigint {
  return code < 128 ? 1n << BigInt(code) : OTHERS
}

/** @throws REFUSED for what is not among the allowed shapes */
function parse (source: string, unicode: boolean): { anchored: boolean, items: Item[] }[] {
  let at = 0
  const options = []
  do options.push({ anchored: eat('^'), items: parseSequence() }); while (eat('|'))
  return options

  function eat (text: string): boolean {
    if (!source.startsWith(text, at)) return false
    at += text.length
    return true
  }

  function parseSequence (): Item[] {
    const items: Item[] = []
    while (at < source.length && !/[|)]/.test(source.charAt(at))) items.push(parseItem())
    return items
  }

  function parseItem (): Item {
    const options = eat('(') ? parseGroup() : null
    const set = options === null ? parseSet() : 0n
    return { set, options, ...parseTimes() }
  }

  function parseGroup (): Item[][] {
    const [opening = ''] = /^\?(?::|<[^=!>][^>]*>)/.exec(source.slice(at)) ?? []
    at += opening.length
    if (opening === '' && source.charAt(at) === '?') throw REFUSED
    const options = []
    do options.push(parseSequence()); while (eat('|'))
    at++ // the engine has seen to it that it is closed
    return options
  }

  function parseTimes (): { min: number, max: number } {
    const [text = '', short, from = '1', comma = '', to] = /^(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/.exec(source.slice(at)) ?? []
    at += text.length
    if (short === '*') return { min: 0, max: Infinity }
    if (short === '+') return { min: 1, max: Infinity }
    if (short === '?') return { min: 0, max: 1 }
    return { min: Number(from), max: comma === '' ? Number(from) : Number(to || Infinity) }
  }

  function parseSet (): bigint {
    if (eat('$')) return 0n
    if (eat('.')) return ALL
    if (eat('[')) return parseClass()
    if (/[\^{}\]*+?]/.test(source.charAt(at))) throw REFUSED
    return withCases(parseCharacter().set)
  }

  function parseClass (): bigint {
    const negated = eat('^')
    let set = 0n
    while (!eat(']')) {
      const from = parseCharacter()
      set |= /^-[^\]]/.test(source.slice(at, at + 2)) ? parseRange(from.code) : from.set
    }
    // what is taken away must not be more than the engine takes away: no other case, and none of the others
    return negated ? (ALL & ~set) | OTHERS : withCases(set)
  }

  function parseRange (from: number): bigint {
    at++
    const to = parseCharacter().code
    if (Number.isNaN(from + to)) throw REFUSED
    let set = bit(to)
    for (let code = from; code < Math.min(to, 128); code++) set |= bit(code)
    return set
  }

  /** The code is `NaN` where it stands for many, as \d does. */
  function parseCharacter (): { code: number, set: bigint } {
    const escaped = eat('\\')
    if (escaped) {
      const [text = '', x, u, point] = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]+)\}|[tnvfr])/.exec(source.slice(at)) ?? []
      if (text !== '' && (point === undefined || unicode)) {
        at += text.length
        const code = x === undefined && u === undefined && point === undefined ? CONTROLS[text] ?? NaN : parseInt(x ?? u ?? point ?? '', 16)
        if (Number.isNaN(code)) throw REFUSED
        return { code, set: bit(code) }
      }
    }
    const character = source.charAt(at++)
    const set = escaped ? SETS.get(character) : undefined
    if (set !== undefined) return { code: NaN, set }
    if (escaped && /[A-Za-z0-9]/.test(character)) throw REFUSED
    const code = character.charCodeAt(0)
    return { code, set: bit(code) }
  }

  function withCases (set: bigint): bigint {
    const folded = unicode && (set & FOLDED) !== 0n ? OTHERS : 0n
    return set | (set & UPPER) << 32n | (set & LOWER) >> 32n | folded
  }
}
