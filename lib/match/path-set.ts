/** Paths (`/x`) and subtrees (`/x/*`), compiled: what a look-up costs depends on the path, not on their number. */
export interface Strings {
  isExact (path: string): boolean
  /** In a subtree, by whole segments; `/x` itself is not in `/x/*`. */
  isBelow (path: string): boolean
  has (path: string): boolean
  /** Is there a path or a subtree that begins with `head`? To be asked of a head that is in no subtree itself. */
  mayHold (head: string): boolean
}

/** A subtree, and those in it, by the next segment. */
interface Node { isParent: boolean, readonly children: Map<string, Node> }

export function compileStrings (patterns: readonly string[]): Strings {
  const exact = new Set(patterns.filter(pattern => !pattern.endsWith('/*')))
  const parents = patterns.filter(pattern => pattern.endsWith('/*')).map(pattern => pattern.slice(0, -1))
  const root = compileParents(parents)
  const sorted = [...exact, ...parents].sort(byCodeUnits)

  const isExact = (path: string): boolean => exact.has(path)

  /** Segment by segment, and no further than the subtrees go: a path of any length is read once. */
  function isBelow (path: string): boolean {
    let node: Node | undefined = root
    for (let at = path.indexOf('/'); at !== -1 && node !== undefined;) {
      if (node.isParent) return true
      const end = path.indexOf('/', at + 1)
      node = end === -1 ? undefined : node.children.get(path.slice(at + 1, end))
      at = end
    }
    return false
  }

  return {
    isExact,
    isBelow,
    has: path => isExact(path) || isBelow(path),
    mayHold: head => sorted[lowerBound(sorted, head)]?.startsWith(head) ?? false
  }
}

/** @param parents `/x/` for `/x/*` */
function compileParents (parents: readonly string[]): Node {
  const root: Node = { isParent: false, children: new Map() }
  for (const parent of parents) {
    let node = root
    for (const segment of parent.split('/').slice(1, -1)) {
      const child = node.children.get(segment) ?? { isParent: false, children: new Map() }
      node.children.set(segment, child)
      node = child
    }
    node.isParent = true
  }
  return root
}

const byCodeUnits = (a: string, b: string): number => a < b ? -1 : Number(a > b)

/** The place of the first that does not come before `text`. */
function lowerBound (sorted: readonly string[], text: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as string) < text) low = middle + 1
    else high = middle
  }
  return low
}
