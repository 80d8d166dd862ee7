import { BlockList, isIP } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import ipaddr from 'ipaddr.js'
import t from 'tap'
import { compile6 } from '../lib/match/cidr-trie.ts'
import { compileIps, isIpRule, type IpMatcher } from '../lib/match/ip.ts'
import { createRandom } from './fixtures/random.ts'

const random = createRandom(t)

const EVERYBODY = ['0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1']

t.test('agrees with BlockList and ipaddr.js on 100,000 pairs of address and rule', async t => {
  let pairs = 0
  let hits = 0
  const wrong: string[] = []
  while (pairs < 100_000 && wrong.length < 5) {
    const rules = Array.from({ length: 25 }, randomRule)
    const singles = rules.map(rule => ({ rule, isIgnored: matcher([rule]), oracles: oraclesOf([rule]) }))
    const all = { rule: rules.join(' '), isIgnored: matcher(rules), oracles: oraclesOf(rules) }
    for (const address of addressesFor(rules)) {
      for (const { rule, isIgnored, oracles } of [...singles, all]) {
        const said = isIgnored(address)
        const expected = oracles.map(holds => holds(address))
        if (expected.some(answer => answer !== said)) {
          wrong.push(`${address} in ${rule}: ${said}, BlockList and ipaddr.js say ${expected}`)
        }
        if (said) hits++
        pairs++
      }
    }
  }
  t.strictSame(wrong, [])
  t.ok(pairs >= 100_000 && hits > pairs / 100, `${pairs} pairs, ${hits} of them hits`)
})

t.test('finds the edges of a block among 100,000', async t => {
  const rules = Array.from({ length: 100_000 }, randomRule)
  const isIgnored = matcher(rules)
  const wrong = []
  for (let i = 0; i < 40_000; i++) {
    const { address, prefix, bits } = parsed(rules[random(rules.length)] as string)
    const size = 1n << BigInt(bits - prefix)
    const first = address / size * size
    for (const inside of [first, first + size - 1n]) {
      if (!isIgnored(textOf(inside, bits))) wrong.push(textOf(inside, bits))
    }
  }
  t.strictSame(wrong, [])
  const oracle = oraclesOf(rules)[0] as (address: string) => boolean
  const others = Array.from({ length: 400 }, () => addressesFor([rules[random(rules.length)] as string])).flat()
  t.strictSame(others.filter(address => isIgnored(address) !== oracle(address)), [])
})

t.test('distinguishes blocks that differ in any bit', async t => {
  const wrong = []
  // the first differing bit may be anywhere, also at word boundaries
  for (let from = 0; from <= 108; from++) {
    const base = 0x2001_0db8_ffff_0000_1234_5678_9abc_def0n >> BigInt(128 - from) << BigInt(128 - from)
    const make = (): bigint => base | randomBits(20) % 2n ** 20n << BigInt(108 - from)
    const blocks = Array.from({ length: 64 }, make)
    const isIgnored = matcher(
      blocks.map(block => `${textOf(block | 1n << 100n & (1n << BigInt(108 - from)) - 1n, 128)}/${from + 20}`)
    )
    for (const address of [...blocks, ...Array.from({ length: 64 }, make)]) {
      if (address >> 32n !== 0xffffn && isIgnored(textOf(address, 128)) !== blocks.includes(address)) {
        wrong.push(textOf(address, 128))
      }
    }
  }
  t.strictSame(wrong, [])
})

t.test('every spelling of an address has the same answer', async t => {
  const spellings = (address: bigint): string[] => [
    textOf(address, 128), full(address), full(address).toUpperCase(), short(address), short(address).toUpperCase(),
    dotted(address), `${short(address)}%eth0`
  ]
  const wrong: string[] = []
  for (let i = 0; i < 2000; i++) {
    const address = randomBits(128) & (random(2) === 0 ? -1n : 0xffffn << BigInt(random(8) * 16))
    if (address >> 32n === 0xffffn) continue
    const isIgnored = matcher([short(address), '10.0.0.0/8'])
    wrong.push(...spellings(address).filter(text => !isIgnored(text)), ...spellings(address ^ 1n).filter(isIgnored))
  }
  t.strictSame(wrong, [])
  const mapped = [
    '10.1.2.3', '::ffff:10.1.2.3', '::FFFF:a01:203', '0:0:0:0:0:ffff:0a01:0203',
    '0000:0000:0000:0000:0000:ffff:10.1.2.3', '::ffff:10.1.2.3%eth0'
  ]
  for (const rule of ['10.1.2.3', '10.0.0.0/8', '::ffff:10.1.2.3', '::ffff:a00:0/104', '::ffff:10.0.0.0/104']) {
    t.strictSame(mapped.map(matcher([rule])), mapped.map(() => true), rule)
  }
  t.strictSame(mapped.map(matcher(['10.1.2.4/31'])), mapped.map(() => false))
})

t.test('an IPv6 block never contains an IPv4 client', async t => {
  const isIgnored = matcher(['::/1', '8000::/1', '::fffe:0:0/95', '::/64', '2002::/16'])
  for (const ip of ['10.0.0.1', '255.255.255.255', '0.0.0.0', '::ffff:10.0.0.1', '::ffff:0:0', '::FFFF:a00:1']) {
    t.equal(isIgnored(ip), false, ip)
  }
  for (const ip of ['::1', '::fffe:10.0.0.1', '::10.0.0.1', 'ffff::', '2002:a00:1::']) t.equal(isIgnored(ip), true, ip)
  t.equal(matcher(['0.0.0.0/1'])('::1'), false, 'nor vice versa')
})

t.test('an invalid address is never ignored, and never throws', async t => {
  const isIgnored = matcher(EVERYBODY)
  const strange = [undefined, null, 0, 1n, NaN, true, Symbol('ip'), {}, [], ['10.0.0.1'], Object('10.0.0.1'), () =>
    '10.0.0.1',
  '', ' ', 'unknown', '10.0.0.5:1234', '[::1]:99', '[::1]', '<script>alert(1)</script>', '010.0.0.5', '10.0.0.05',
  '0x0a.0.0.1', '10.0.0', '10.1',
  '10.0.0.1.', '.10.0.0.1', '10..0.1', '1.2.3.4.5', '256.0.0.1', '10.0.0.1/32', '10.0.0.0/8', '10.0.0.*',
  ' 10.0.0.1', '10.0.0.1 ', '10.0.0.1\n', '1٠.0.0.1', '167772161',
  ':', ':::', '1:', ':1', '1::2::3', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '::1:2:3:4:5:6:7:8', '12345::', 'g::',
  '::10.0.0', '::010.0.0.1', '1:2:3:4:5:6:7:10.0.0.1', '::10.0.0.1:1', '::1%', '::1%a%b', '::1%a b', '10.0.0.1%eth0',
  '::1/128', '::é',
    `${'0'.repeat(100)}::1`, `::1%${'x'.repeat(16_000)}`, '1.'.repeat(8000), ':'.repeat(16_000)]
  for (const ip of [...strange, ...strange]) t.equal(isIgnored(ip), false, `${String(ip).slice(0, 40)} (${typeof ip})`)
  t.ok(EVERYBODY.every(isIpRule))
})

t.test('knows the same addresses as net.isIP', async t => {
  const isIgnored = matcher(EVERYBODY)
  const wrong = []
  let addresses = 0
  for (let i = 0; i < 300_000; i++) {
    let text = random(2) === 0 ? textOf(randomBits(32), 32) : spell(randomBits(128) & randomBits(128))
    for (let edits = random(3); edits > 0; edits--) text = mutate(text)
    if (isIP(text) !== 0) addresses++
    if (isIgnored(text) !== (isIP(text) !== 0)) wrong.push(text)
  }
  t.strictSame(wrong.slice(0, 10), [])
  t.ok(addresses > 50_000 && addresses < 250_000, `${addresses} of 300000 texts are addresses`)
})

t.test('accepts only strict addresses and blocks as rules', async t => {
  const good = [
    '10.0.0.1', '10.0.0.0/8', '10.1.2.3/8', '0.0.0.0/1', '255.255.255.255/32', '::1', '::', '2001:db8::/32', '::/1',
    'FE80::1/10', '::ffff:10.0.0.1', '::ffff:10.0.0.0/104', '::ffff:0:0/97', '64:ff9b::10.0.0.1/96'
  ]
  for (const rule of good) t.equal(isIpRule(rule), true, rule)
  const bad = [
    '', ' ', '0.0.0.0/0', '::/0', '10.0.0.0/0', '::ffff:0:0/96', '::ffff:10.0.0.0/8', '::ffff:10.0.0.1/96',
    '010.0.0.1', '10.0.0.01', '10.0.0.0/08', '::1/0128', '10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/-1',
    '10.0.0.0/+8', '10.0.0.0/8/8', '10.0.0.0/ 8', '10.0.0.0 /8', ' 10.0.0.1', '10.0.0.1 ', '10.0.0.0/0x8',
    '10.0.0.0/8.0', '10.0.0.0/1e1', '10.0.0.0/255.0.0.0', '10.0.0.1:80', '[::1]', '[::1]:80', '10.0.0.*', '10.0.*',
    '*', '10.0.0.1-10.0.0.9', '10.0.0', '10', 'localhost', 'example.com', 'fe80::1%eth0', '2001:db8::%eth0/32',
    '2001:db8::g/32', '10.0.0.1/8\n', '/8', '/', 'all', '::/1000'
  ]
  for (const rule of bad) t.equal(isIpRule(rule), false, JSON.stringify(rule))
  for (const rule of [undefined, null, 10, {}, ['10.0.0.1'], /10/]) t.equal(isIpRule(rule), false, String(rule))
  t.equal(compileIps([]), null, 'no rules: nothing to check')
})

t.test('merges rules that overlap, repeat or are unordered', async t => {
  const isIgnored = matcher([
    '10.1.0.0/16', '10.0.0.0/8', '10.1.2.3', '10.0.0.0/8', '10.255.255.255/9', '2001:db8::1', '2001:db8::/32',
    '2001:db8::/32', '192.168.0.1/24'
  ])
  for (const ip of [
    '10.0.0.0', '10.255.255.255', '10.1.2.3', '2001:db8::', '2001:db8:ffff::', '192.168.0.0', '192.168.0.255'
  ]) t.equal(isIgnored(ip), true, ip)
  for (const ip of ['9.255.255.255', '11.0.0.0', '2001:db7:ffff::', '2001:db9::', '192.168.1.0']) {
    t.equal(isIgnored(ip), false, ip)
  }
})

t.test('checking addresses leaves nothing behind', async t => {
  const padding = Buffer.alloc(15_000, 0x20)
  const isIgnored = matcher(['10.0.0.0/8', '2001:db8::/32'])
  // as from a trusted proxy: a slice of a header of 15 KB
  const flood = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const header = Buffer.concat([padding, Buffer.from(textOf(randomBits(128), 128))]).toString('latin1')
      const ip = header.slice(padding.length)
      for (let times = 0; times < 3; times++) isIgnored(ip)
    }
  }
  flood(100)
  const before = await megabytes()
  flood(8000)
  const grown = await megabytes() - before
  t.ok(grown < 2, `${grown.toFixed(1)} MB for 8,000 of them with their headers (these have 120)`)
  t.equal(isIgnored('10.0.0.1'), true)
})

t.test('100,000 rules of any kind compile into less than 3 MB', async t => {
  const shapes = {
    'scattered IPv4 addresses': () => textOf(randomBits(32), 32),
    'consecutive IPv4 addresses': (i: number) => `10.${i >> 16}.${i >> 8 & 255}.${i & 255}`,
    'IPv6 addresses of one provider': () => textOf(0x20010db8n << 96n | randomBits(96), 128),
    // unless empty nodes are made smaller, each outlier costs a node as large as the crowd
    '25 IPv6 crowds behind ever closer outliers': (i: number) => textOf(0x20010db8n << 96n | BigInt(
      i % 25
    ) << 88n | (i < 800 ? 1n << BigInt(87 - 2 * Math.floor(i / 25)) : randomBits(24)), 128),
    'scattered IPv6 blocks': () => `${textOf(randomBits(128), 128)}/${48 + random(17)}`
  }
  const kept: IpMatcher[] = []
  for (const [name, make] of Object.entries(shapes)) {
    const rules = Array.from({ length: 100_000 }, (_, i) => Buffer.from(make(i)).toString())
    const before = await megabytes()
    kept.push(matcher(rules))
    const taken = await megabytes() - before
    t.ok(taken > 0.3 && taken < 3, `${name}: ${taken.toFixed(2)} MB`)
    t.strictSame([0, 1, 50_000, 99_999].map(
      i => kept.at(-1)?.((rules[i] as string).replace(/\/.*/, ''))
    ), [true, true, true, true])
  }
  t.throws(() => compile6({ width: 4, words: new Uint32Array(), prefixes: new Uint8Array(2 ** 23 + 1) }), RangeError)
})

/** Memory in use after garbage collection: another thread frees array buffers a little later. */
async function megabytes (): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let least = Infinity
  for (let unchanged = 0; unchanged < 4; unchanged++) {
    collect()
    await new Promise(resolve => setTimeout(resolve, 5))
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    const used = (heapUsed + arrayBuffers) / 1e6
    if (used < least - 0.01) unchanged = 0
    least = Math.min(least, used)
  }
  return least
}

function matcher (rules: string[]): IpMatcher {
  const wrong = rules.find(rule => !isIpRule(rule))
  if (wrong !== undefined) throw new Error(`not a rule: ${wrong}`)
  return compileIps(rules) as IpMatcher
}

/**
 * The answers of node:net and ipaddr.js, with mapped addresses given to both as IPv4. A BlockList finds
 * IPv4 clients in wide IPv6 blocks, which is unwanted: hence one list per family.
 */
function oraclesOf (rules: string[]): ((address: string) => boolean)[] {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
  const parsedRules = rules.map(rule => {
    const [address = '', length] = rule.split('/')
    const block = ipaddr.process(address)
    const folded = block.kind() === 'ipv4' && address.includes(':') ? 96 : 0
    const prefix = Number(length ?? (block.kind() === 'ipv4' ? 32 + folded : 128)) - folded
    lists[block.kind()].addSubnet(block.toString(), prefix, block.kind())
    return [block, prefix] as const
  })
  return [
    address => {
      const client = ipaddr.process(address)
      return lists[client.kind()].check(client.toString(), client.kind())
    },
    address => {
      const client = ipaddr.process(address)
      return parsedRules.some(([block, prefix]) => block.kind() === client.kind() && client.match(block, prefix))
    }
  ]
}

function randomRule (): string {
  const kind = random(10)
  if (kind < 4) return `${textOf(randomBits(32), 32)}/${1 + random(32)}`
  if (kind < 5) return textOf(randomBits(32), 32)
  if (kind < 6) return `::ffff:${textOf(randomBits(32), 32)}/${97 + random(32)}`
  const near = random(2) === 0 ? randomBits(128) : 0x20010db8n << 96n | randomBits(96)
  // a mapped address would be another rule
  return kind < 9 ? `${spell(near | 1n << 100n)}/${1 + random(128)}` : spell(near | 1n << 100n)
}

/** Inside, outside and at the edges of the rules. */
function addressesFor (rules: string[]): string[] {
  return rules.slice(0, 8).flatMap(rule => {
    const { address, prefix, bits } = parsed(rule)
    const size = 1n << BigInt(bits - prefix)
    const first = address / size * size
    const top = (1n << BigInt(bits)) - 1n
    return [
      first, first + size - 1n, first - 1n & top, first + size & top, first + randomBits(128) % size, randomBits(bits)
    ].map(value => bits === 32 ? spell4(value) : spell(value))
  })
}

function parsed (rule: string): { address: bigint, prefix: number, bits: number } {
  const [text = '', length] = rule.split('/')
  const block = ipaddr.process(text)
  const bits = block.kind() === 'ipv4' ? 32 : 128
  const mapped = bits === 32 && text.includes(':')
  const address = BigInt(`0x${Buffer.from(block.toByteArray()).toString('hex')}`)
  return { address, bits, prefix: length === undefined ? bits : Number(length) - (mapped ? 96 : 0) }
}

function textOf (address: bigint, bits: number): string {
  if (bits === 128) return groupsOf(address).map(group => group.toString(16)).join(':')
  return [24n, 16n, 8n, 0n].map(shift => address >> shift & 255n).join('.')
}

function groupsOf (address: bigint): bigint[] {
  return Array.from({ length: 8 }, (_, i) => address >> BigInt(112 - i * 16) & 0xffffn)
}

function full (address: bigint): string {
  return groupsOf(address).map(group => group.toString(16).padStart(4, '0')).join(':')
}

function short (address: bigint): string {
  return textOf(address, 128).replace(/(?:^|:)0(?::0)+(?:$|:)/, '::')
}

function dotted (address: bigint): string {
  return `${groupsOf(address).slice(0, 6).map(group => group.toString(16))
    .join(':')}:${textOf(address & 0xffffffffn, 32)}`
}

function spell4 (address: bigint): string {
  return random(4) === 0 ? `::ffff:${textOf(address, 32)}` : textOf(address, 32)
}

function spell (address: bigint): string {
  const text = [full, short, dotted, (value: bigint) => textOf(value, 128)][random(4)]?.(address) ?? ''
  return random(3) === 0 ? text.toUpperCase() : text
}

function mutate (text: string): string {
  const at = random(text.length + 1)
  const character = '0123456789abcdefF:::...%/ g'.charAt(random(27))
  return text.slice(0, at) + [character, character, ''][random(3)] + text.slice(at + random(2))
}

function randomBits (bits: number): bigint {
  let value = 0n
  for (let i = 0; i < bits; i += 16) value = value << 16n | BigInt(random(65536))
  return value
}
