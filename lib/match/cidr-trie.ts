/** CIDR blocks of one family: the address of block `i` starts at `words[i * width]`, its length is `prefixes[i]`. */
export interface Blocks {
  /** 32-bit words of an address: 1 for IPv4, 4 for IPv6. */
  readonly width: number
  readonly words: Uint32Array
  readonly prefixes: Uint8Array
}

/** A node with a smaller share of used slots is made smaller, so that memory stays proportional to the blocks. */
const FILLED = 1 / 3
/** A leaf of IPv6 stores the index of its block in 23 bits. */
const BLOCKS_MAX = 2 ** 23
/** Nodes of up to this many bits get two extra index bits; larger ones would not fit in the CPU cache. */
const ROOMY_MAX = 14
/** A root of up to this many bits keeps all its slots, however few are used. */
const SPARSE_MAX = 12

/** The minimum stride of the IPv4 root: a leaf has room for the other 25 bits. */
const ROOT4 = 7

/** Returns a function that tells whether an IPv4 address, a signed or unsigned 32-bit integer, is in a block. */
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

/** Returns a function that tells whether an IPv6 address, in four words, is in a block. */
export function compile6 (all: Blocks): (address: Uint32Array) => boolean {
  if (all.prefixes.length > BLOCKS_MAX) {
    throw new RangeError(`maintenance: more than ${BLOCKS_MAX} IPv6 addresses and blocks`)
  }
  const blocks = merge(all)
  const { words } = blocks
  // fewer than two blocks need no trie, just a node of one slot
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
  // only a node of IPv6 can span two words
  const low = offset + count > 32 ? (words[i + 1] as number) >>> (32 - offset) : 0
  return (high | low) >>> (32 - count)
}

/** Whether the first `bits` bits of both addresses are equal. */
function isIn (address: Uint32Array, base: number, block: Uint32Array, at: number, bits: number): boolean {
  for (let w = 0; bits > 0; w++, bits -= 32) {
    const difference = (address[base + w] as number) ^ (block[at + w] as number)
    if (bits >= 32 ? difference !== 0 : difference >>> (32 - bits) !== 0) return false
  }
  return true
}

/** A leaf of IPv4: the sign bit, the address without the bits of the root, and the number of bits to ignore. */
const leaf4 = ({ words, prefixes }: Blocks, i: number): number =>
  1 << 31 | (words[i] as number) << ROOT4 >>> 1 | 31 - Math.max((prefixes[i] as number) - ROOT4, 0)

/** A leaf of IPv6: the index and the length of the block, inverted so that it is negative; 0 if there is no block. */
const leaf6 = ({ prefixes }: Blocks, i: number): number =>
  i < prefixes.length ? ~(i << 8 | (prefixes[i] as number)) : 0

/** Sorts the blocks by address and drops those inside another: CIDR blocks are nested or disjoint. */
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
  // the kept ones move to the front of `order`, over entries that were already read
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
 * common and then indexes by as many bits as the blocks fill (an LC-trie: Nilsson and Karlsson, 1999).
 * A look-up takes two or three hops for 100,000 blocks, and compares with one block at the end.
 *
 * A node is a header (bits to skip, and from bit 8 on the number of index bits) and a slot for each index: 0 for no
 * block, a negative leaf for one block, or the position of the next node.
 *
 * @param least minimum stride of the root, which then skips no prefix; 0: no minimum
 */
function buildTrie (blocks: Blocks, leafOf: (blocks: Blocks, i: number) => number, least = 0): Int32Array {
  const { width, words, prefixes } = blocks
  const trie: number[] = []
  addNode(0, prefixes.length, least)
  return Int32Array.from(trie)

  /** Adds a node for the blocks from `low` to `high`: at least two, unless there is a minimum stride. */
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

  /** Enough bits for a slot per block, more where that is cheap, and fewer if too many slots would stay empty. */
  function strideOf (low: number, high: number, skip: number): number {
    const count = high - low
    const enough = 32 - Math.clz32(count - 1)
    let bits = Math.min(enough + (count > 16 && enough <= ROOMY_MAX ? 2 : 0), width * 32 - skip)
    // a small root may stay sparse
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

  /** The number of slots that a block fills in a node that indexes up to bit `end`. */
  function span (i: number, end: number): number {
    return 1 << Math.max(0, end - (prefixes[i] as number))
  }
}
