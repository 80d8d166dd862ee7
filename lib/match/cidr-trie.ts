/** CIDR blocks of one family: the address of block `i` stands in `words` from `i * width`, its length in `prefixes[i]`. */
export interface Blocks {
  /** 32-bit words of an address: 1 for IPv4, 4 for IPv6. */
  readonly width: number
  readonly words: Uint32Array
  readonly prefixes: Uint8Array
}

/** So many slots of a node must be used, or it is made smaller: memory stays in proportion to the blocks. */
const FILLED = 1 / 3
/** A leaf of IPv6 has room for the number of a block in 23 bits. */
const BLOCKS_MAX = 2 ** 23
/** Up to so many bits, a node decides two more than its blocks need at least: more than these do not fit a cache. */
const ROOMY_MAX = 14
/** Up to so many bits, the first node keeps its slots, however few are used. */
const SPARSE_MAX = 12

/** Bits that the first node of IPv4 decides at least: a leaf has room for the other 25. */
const ROOT4 = 7

/** Is the IPv4 address, as a number of 32 bits with or without sign, in one of the blocks? */
export function compile4 (all: Blocks): (address: number) => boolean {
  const trie = buildTrie(merge(all), leaf4, ROOT4)
  const shift = 32 - ((trie[0] as number) >>> 8)
  return function holds4 (address) {
    let next = trie[1 + (address >>> shift)] as number
    while (next > 0) {
      const node = trie[next] as number
      next = trie[next + 1 + ((address << (node & 0xff)) >>> (32 - (node >>> 8)))] as number
    }
    return next < 0 && (address << ROOT4 ^ next << 1) >>> 1 >>> (next & 31) === 0
  }
}

/** Is the IPv6 address, in four words, in one of the blocks? */
export function compile6 (all: Blocks): (address: Uint32Array) => boolean {
  if (all.prefixes.length > BLOCKS_MAX) throw new RangeError(`maintenance: more than ${BLOCKS_MAX} IPv6 addresses and blocks`)
  const blocks = merge(all)
  const { words } = blocks
  // none and one need no trie: a node of one slot
  const trie = blocks.prefixes.length < 2 ? Int32Array.of(0, leaf6(blocks, 0)) : buildTrie(blocks, leaf6)
  return function holds6 (address) {
    let at = 0
    for (;;) {
      const node = trie[at] as number
      const next = trie[at + 1 + bitsAt(address, 0, node & 0xff, node >>> 8)] as number
      if (next > 0) at = next
      else return next < 0 && isIn(address, 0, words, (~next >>> 8) * 4, ~next & 0xff)
    }
  }
}

/** `count` bits of the address at `base`, from bit `from` on, as a number. */
function bitsAt (words: Uint32Array, base: number, from: number, count: number): number {
  if (count === 0) return 0
  const i = base + (from >>> 5)
  const offset = from & 31
  const high = (words[i] as number) << offset
  // only an address of several words has a node across two of them
  const low = offset + count > 32 ? (words[i + 1] as number) >>> (32 - offset) : 0
  return (high | low) >>> (32 - count)
}

/** Do the first `bits` bits of both addresses agree? */
function isIn (address: Uint32Array, base: number, block: Uint32Array, at: number, bits: number): boolean {
  for (let w = 0; bits > 0; w++, bits -= 32) {
    const difference = (address[base + w] as number) ^ (block[at + w] as number)
    if (bits >= 32 ? difference !== 0 : difference >>> (32 - bits) !== 0) return false
  }
  return true
}

/** A leaf is negative. Of IPv4 it is the block itself, behind the bits of the first node; and how many bits do not count. */
const leaf4 = ({ words, prefixes }: Blocks, i: number): number =>
  1 << 31 | (words[i] as number) << ROOT4 >>> 1 | 31 - Math.max((prefixes[i] as number) - ROOT4, 0)

/** Of IPv6, the block's number and its length; 0 where there is no such block. */
const leaf6 = ({ prefixes }: Blocks, i: number): number => i < prefixes.length ? ~(i << 8 | (prefixes[i] as number)) : 0

/** Sorted by address, without those that lie in another: CIDR blocks nest or are apart. */
function merge ({ width, words, prefixes }: Blocks): Blocks {
  const order = Uint32Array.from(prefixes, (_, i) => i).sort((a, b) => {
    for (let w = 0; w < width; w++) {
      const difference = (words[a * width + w] as number) - (words[b * width + w] as number)
      if (difference !== 0) return difference
    }
    return (prefixes[a] as number) - (prefixes[b] as number)
  })
  let last = -1
  let count = 0
  // the kept ones move to the front, over places already read
  for (const i of order) {
    if (last !== -1 && isIn(words, i * width, words, last * width, prefixes[last] as number)) continue
    order[count++] = last = i
  }
  const merged = { width, words: new Uint32Array(count * width), prefixes: new Uint8Array(count) }
  for (let to = 0; to < count; to++) {
    const from = order[to] as number
    merged.words.set(words.subarray(from * width, (from + 1) * width), to * width)
    merged.prefixes[to] = prefixes[from] as number
  }
  return merged
}

/**
 * Compiles blocks into a trie in one typed array, in which a node skips the bits that all its blocks have in
 * common and then decides as many bits at once as the blocks fill (an LC-trie: Nilsson and Karlsson, 1999).
 * A look-up takes two or three hops for 100,000 blocks, and compares with one block at the end.
 *
 * A node is a head (bits to skip, and from bit 8 on how many it decides) and a slot for each of its values:
 * 0 for no block, a negative leaf for one block, else the place of the next node.
 *
 * @param least so many bits the first node decides at least, and skips none; 0: it is as any other
 */
function buildTrie (blocks: Blocks, leafOf: (blocks: Blocks, i: number) => number, least = 0): Int32Array {
  const { width, words, prefixes } = blocks
  const trie: number[] = []
  addNode(0, prefixes.length, least)
  return Int32Array.from(trie)

  /** Of the blocks from `low` to `high`; at least two of them, or a `least`. */
  function addNode (low: number, high: number, least: number): number {
    const skip = least > 0 ? 0 : commonBits(low, high - 1)
    const bits = Math.max(least, strideOf(low, high, skip))
    const node = trie.length
    trie.push(skip | bits << 8)
    for (let slot = 0; slot < 1 << bits; slot++) trie.push(0)
    for (let i = low; i < high;) {
      const first = bitsAt(words, i * width, skip, bits)
      let next = i + 1
      while (next < high && bitsAt(words, next * width, skip, bits) === first) next++
      const value = next - i === 1 ? leafOf(blocks, i) : addNode(i, next, 0)
      for (let slot = first; slot < first + span(i, skip + bits); slot++) trie[node + 1 + slot] = value
      i = next
    }
    return node
  }

  function commonBits (a: number, b: number): number {
    let w = 0
    while (words[a * width + w] === words[b * width + w]) w++
    return w * 32 + Math.clz32((words[a * width + w] as number) ^ (words[b * width + w] as number))
  }

  /** A slot for each block at least, more where that is cheap, so that most have but one; less where too many are empty. */
  function strideOf (low: number, high: number, skip: number): number {
    const count = high - low
    const enough = 32 - Math.clz32(count - 1)
    let bits = Math.min(enough + (count > 16 && enough <= ROOMY_MAX ? 2 : 0), width * 32 - skip)
    // one node alone may be as empty as it is, while it is small
    if (trie.length === 0 && bits <= SPARSE_MAX) return bits
    while (bits > 1 && usedSlots(low, high, skip, bits) < FILLED * (1 << bits)) bits--
    return bits
  }

  function usedSlots (low: number, high: number, skip: number, bits: number): number {
    let used = 0
    let last = -1
    for (let i = low; i < high; i++) {
      const slot = bitsAt(words, i * width, skip, bits)
      if (slot !== last) used += span(i, skip + bits)
      last = slot
    }
    return used
  }

  /** How many slots a block takes, of a node that decides up to bit `end`. */
  function span (i: number, end: number): number {
    return 1 << Math.max(0, end - (prefixes[i] as number))
  }
}
