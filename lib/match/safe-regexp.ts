/**
 * Decides whether a regular expression may be matched against a path, which the client chooses. V8's engine
 * backtracks, so an expression may need a number of steps that grows with a power of the path's length. Only
 * expressions that provably need a linear number of steps are accepted; docs/ignored-routes.md explains the rule.
 */
import { messageOf } from '../errors.ts'
import { isAssertion, parse, Refusal, unsupported, type Item } from './regexp-parser.ts'

/** Why `expression` is refused, in a short sentence; `null` if it is linear. */
export function whyRefused (expression: RegExp): string | null {
  try {
    weigh(expression)
    return null
  } catch (error) {
    return messageOf(error)
  }
}

/**
 * The most characters that the engine compares per character of a path.
 * @throws Refusal if the expression is refused
 */
export function weigh ({ source, flags }: RegExp): number {
  const flag = /[gymv]/.exec(flags)
  if (flag !== null) throw unsupported(`the flag ${flag[0]}`)
  const options = parse(source, flags)
  const costs = options.map(option => costOf(option.items, 0n))
  if (options.some((option, i) => !option.anchored && isOpen(costs[i] as Cost))) {
    throw slow('an open-ended quantifier in an expression that does not begin with ^')
  }
  const { ways, size } = either(options.map(option => option.items), costs)
  const weight = ways * size
  if (weight > WEIGHT_MAX) throw slow('too many combinations of alternatives and quantifiers')
  return weight
}

const slow = (what: string): Refusal => new Refusal(`RegExp may be slow: ${what}`)

/** A path of 500 characters must stay within the steps that lib/match/route.ts allows. */
const WEIGHT_MAX = 4000
/** A quantifier that allows more repetitions than this counts as open-ended. */
const FEW = 16

interface Cost {
  /** In how many ways the engine can match from one position, open-ended quantifiers aside. */
  readonly ways: number
  /** How many characters are compared in each of those ways; of an open-ended quantifier, for each repetition. */
  readonly size: number
  /** Whether there is an open-ended quantifier, lookaheads aside. */
  readonly open: boolean
  /** Whether one of them can end at many positions, so that what follows is tried from all of them. */
  readonly wild: boolean
  /** Whether a lookahead contains an open-ended quantifier, so that it reads up to the end each time it is reached. */
  readonly peeks: boolean
}

const isOpen = ({ open, peeks }: Cost): boolean => open || peeks

const EMPTY: Cost = { ways: 1, size: 1, open: false, wild: false, peeks: false }

/** @param follow the characters that may come after the sequence */
function costOf (items: readonly Item[], follow: bigint): Cost {
  let cost = EMPTY
  items.forEach((item, i) => {
    const next = costOfItem(item, firstOf(items.slice(i + 1), follow))
    if (cost.wild && next.open) throw slow('nested or adjacent open-ended quantifiers')
    if (cost.open && next.peeks) throw slow('an open-ended quantifier before a lookahead that contains another')
    cost = {
      ways: cost.ways * next.ways,
      size: cost.size + next.size,
      open: cost.open || next.open,
      wild: cost.wild || next.wild,
      peeks: cost.peeks || next.peeks
    }
  })
  return cost
}

function costOfItem (item: Item, follow: bigint): Cost {
  const { set, options, min, max, checks } = item
  if (isAssertion(item)) return options === null ? { ...EMPTY, size: checks } : costOfLookahead(options)
  if (options !== null) return costOfGroup(options, min, max, follow)
  const open = max > FEW
  // if no character both continues the repetition and comes after it, it can end at one position only
  const apart = min === max || (set & follow) === 0n
  // each repetition costs its checks, and one step to try what follows instead
  const size = min === max && !open ? max * checks : (open ? 1 : max) * (checks + 1)
  return { ...EMPTY, ways: apart || open ? 1 : max - min + 1, size, open, wild: open && !apart }
}

/** The engine never goes back into a lookahead that has matched, so it adds to the size but not to the ways. */
function costOfLookahead (options: readonly Item[][]): Cost {
  const inside = either(options, options.map(option => costOf(option, 0n)))
  return { ...EMPTY, size: inside.ways * inside.size + 1, peeks: isOpen(inside) }
}

function costOfGroup (options: readonly Item[][], min: number, max: number, follow: bigint): Cost {
  const once = either(options, options.map(option => costOf(option, follow)))
  if (max > 1 && isOpen(once)) throw slow('nested or adjacent open-ended quantifiers')
  if (max > FEW) throw slow('an open-ended quantifier after a group')
  if (max > 1 && options.some(hasQuantifier)) throw slow('a quantifier in a group that is repeated')
  let ways = 0
  for (let times = min; times <= max; times++) ways += once.ways ** times
  return { ...once, ways, size: (once.size + 1) * max }
}

/** The cost of alternatives: all are tried, but of those that differ in a character only one can match. */
function either (options: readonly (readonly Item[])[], costs: readonly Cost[]): Cost {
  const apart = options.every((a, i) => options.slice(i + 1).every(b => areApart(a, b)))
  const ways = costs.map(cost => cost.ways)
  return {
    ways: apart ? Math.max(...ways) : ways.reduce((sum, way) => sum + way, 0),
    size: costs.reduce((sum, cost) => sum + cost.size, 0),
    open: costs.some(cost => cost.open),
    wild: costs.some(cost => cost.wild),
    peeks: costs.some(cost => cost.peeks)
  }
}

function areApart (a: readonly Item[], b: readonly Item[]): boolean {
  const [left, right] = [a, b].map(items => items.filter(item => !isAssertion(item))) as [Item[], Item[]]
  for (let i = 0; i < left.length && i < right.length; i++) {
    const [x, y] = [left[i] as Item, right[i] as Item]
    if (!isSingle(x) || !isSingle(y)) return false
    if ((x.set & y.set) === 0n) return true
  }
  return false
}

const isSingle = ({ options, min, max }: Item): boolean => options === null && min === 1 && max === 1
const hasQuantifier = (items: readonly Item[]): boolean =>
  items.some(item => item.min !== item.max || (!isAssertion(item) && (item.options?.some(hasQuantifier) ?? false)))
const isNullable = ({ options, min }: Item): boolean =>
  min === 0 || (options?.some(option => option.every(isNullable)) ?? false)

/** The characters with which a sequence, or what follows it, can begin. */
function firstOf (items: readonly Item[], follow: bigint): bigint {
  let first = 0n
  for (const item of items) {
    if (isAssertion(item)) continue
    first |= item.options === null ? item.set : item.options.reduce((set, option) => set | firstOf(option, 0n), 0n)
    if (!isNullable(item)) return first
  }
  return first | follow
}
