/** Longer words are no slips, and cost too much to compare. */
const WORD_MAX = 50

/**
 * The known name that was probably meant: `ignoreRoutes` for `ignore.routes`, `massage` for `message`; `null`: none.
 */
export function didYouMean (word: string, known: readonly string[]): string | null {
  if (word.length > WORD_MAX) return null
  for (const slips of [0, 1, 2]) {
    const near =
      known.find(name => isNear(word, name, slips)) ?? known.find(name => isNear(lastOf(word), lastOf(name), slips))
    if (near !== undefined) return near
  }
  return null
}

/** What to do about a name that does not exist. */
export function suggest (word: string, known: readonly string[], siblings = known): string {
  const meant = didYouMean(word, known)
  return meant === null ? `Expected one of ${siblings.join(', ')}` : `Did you mean ${meant}?`
}

/** Short words are near to everything. */
function isNear (word: string, name: string, slips: number): boolean {
  const plain = normalise(word)
  return distance(plain, normalise(name)) <= Math.min(slips, Math.floor(plain.length / 3))
}

const normalise = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '')

const lastOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1)

/** How many letters must be added, removed, changed or swapped with their neighbour (optimal string alignment). */
function distance (a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(before, j - 2) + 1 : Infinity
      row.push(Math.min(at(above, j) + 1, at(row, j - 1) + 1, at(above, j - 1) + same, swapped))
    }
    before = above
    above = row
  }
  return at(above, b.length)
}

const at = (row: readonly number[], index: number): number => row[index] as number
