/** Paths (`/x`) and subtrees (`/x/*`). The cost of a lookup depends on the path, not on the number of patterns. */
export interface PathSet {
  isExact (path: string): boolean
  /** Whether the path is in a subtree, by whole segments; `/x` itself is not in `/x/*`. */
  isBelow (path: string): boolean
  has (path: string): boolean
  /** Whether a path or a subtree begins with `prefix`, which must not be in a subtree itself. */
  hasPrefix (prefix: string): boolean
}

/** A segment and its children by name; `isParent` if everything below it is in the set. */
interface Node { isParent: boolean, readonly children: Map<string, Node> }

export function compilePaths (patterns: readonly string[]): PathSet {
  const exact = new Set(patterns.filter(pattern => !pattern.endsWith('/*')))
  const parents = patterns.filter(pattern => pattern.endsWith('/*')).map(pattern => pattern.slice(0, -1))
  const root = compileParents(parents)
  const sorted = [...exact, ...parents].sort(byCodeUnits)

  const isExact = (path: string): boolean => exact.has(path)

  /** Stops where no subtree goes deeper, and reads a path of any length only once. */
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
    hasPrefix: prefix => sorted[lowerBound(sorted, prefix)]?.startsWith(prefix) ?? false
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

/** The index of the first entry that does not sort before `text`. */
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
