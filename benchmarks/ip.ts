/**
 * What does looking up an ignored address cost, by the number of rules? Run with `npx tsx benchmarks/ip.ts`.
 * To include `ip-set`, install it in a folder and set BENCH_DEPS to that folder (default: /tmp/bench-deps).
 */
import { createRequire } from 'node:module'
import { BlockList } from 'node:net'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import ipaddr from 'ipaddr.js'
import { compileIps, type IpMatcher } from '../lib/match/ip.ts'
import { formatInterval, medianInterval } from './lib/interval.ts'
import { generator, measure, median, sample, type Candidate } from './lib/measure.ts'
import { printTable, type Row } from './lib/table.ts'

const FAMILIES = ['ipv4', 'ipv6'] as const
const DISTRIBUTIONS = ['scattered', 'consecutive'] as const
type Family = typeof FAMILIES[number]
type Distribution = typeof DISTRIBUTIONS[number]
interface IpSet { add (address: string): void, contains (address: string): boolean }
type IpSetClass = new () => IpSet

const SIZES = [1, 10, 1_000, 100_000]
const COMPILED = 100_000
/** Number of addresses to look up; a power of two. */
const DISTINCT = 1 << 15
const FLOOD = 50_000
const random = generator()

const AnIpSet = load('ip-set') as IpSetClass | null
if (AnIpSet === null) console.log('ip-set is not installed (see BENCH_DEPS): skipped\n')

for (const family of FAMILIES) {
  for (const distribution of DISTRIBUTIONS) compareSizes(family, distribution)
}
measureFlood()
await measureCompiling()

function compareSizes (family: Family, distribution: Distribution): void {
  const results = SIZES.map(size => ({
    rules: `${size.toLocaleString('en')} rule${size === 1 ? '' : 's'}`,
    hit: compare(family, distribution, size, true),
    miss: compare(family, distribution, size, false)
  }))
  const rows = Object.keys(results[0]?.hit ?? {}).map(name => ({
    '': name,
    ...Object.fromEntries(results.map(({ rules, hit, miss }) => [rules, `${text(hit[name])} / ${text(miss[name])}`]))
  }))
  printTable(`${family}, ${distribution} blocks: ns per look-up, hit / miss`, rows)
}

function compare (family: Family, distribution: Distribution, size: number, hit: boolean): Record<string, number> {
  const rules = Array.from({ length: size }, (_, i) => blockOf(family, distribution, i, size))
  const addressOf = (): string => hit ? inside(rules[random(size)] as string) : outside(family)
  const addresses = Array.from({ length: DISTINCT }, addressOf)
  const matches = compileIps(rules) as IpMatcher
  const list = new BlockList()
  for (const rule of rules) list.addSubnet(rule.split('/')[0] as string, Number(rule.split('/')[1]), family)
  const parsed = rules.map(rule => ipaddr.parseCIDR(rule))
  const candidates: Record<string, Candidate> = {
    'the loop alone': i => (addresses[i & DISTINCT - 1] as string).length > 1,
    'fastify-maintenance': i => matches(addresses[i & DISTINCT - 1]),
    'the same again (A/A)': i => matches(addresses[i & DISTINCT - 1]),
    'net.BlockList': i => list.check(addresses[i & DISTINCT - 1] as string, family),
    'ipaddr.js': i => {
      const address = ipaddr.parse(addresses[i & DISTINCT - 1] as string)
      return parsed.some(block => address.match(block))
    }
  }
  if (AnIpSet !== null) {
    const set = new AnIpSet()
    for (const rule of rules) set.add(rule)
    candidates['ip-set'] = i => set.contains(addresses[i & DISTINCT - 1] as string)
  }
  return measure(candidates)
}

/** An attacker may send each request from another address. Nothing that a look-up remembers may make that expensive. */
function measureFlood (): void {
  const addresses = `${FLOOD.toLocaleString('en')} addresses, none of them ignored`
  printTable(`${addresses}, compared with each of them many times in turn`, FAMILIES.map(family => {
    const rules = Array.from({ length: 1000 }, (_, i) => blockOf(family, 'scattered', i, 1000))
    const matches = compileIps(rules) as IpMatcher
    const flood = Array.from({ length: FLOOD }, () => outside(family))
    const { one = [], many = [] } = sample({
      one: i => matches(flood[(i >>> 10) % FLOOD]),
      many: i => matches(flood[i % FLOOD])
    })
    const ratio = medianInterval([many.map((time, round) => time / (one[round] ?? NaN))])
    return {
      '': family,
      'in turn, ns': median(one).toFixed(1),
      'a flood, ns': median(many).toFixed(1),
      ratio: ratio.value.toFixed(2),
      '95 %': formatInterval(ratio, 2)
    }
  }))
}

async function measureCompiling (): Promise<void> {
  const rows: Row[] = []
  for (const family of FAMILIES) {
    for (const distribution of DISTRIBUTIONS) rows.push(await compile(family, distribution))
  }
  printTable(`Compiling ${COMPILED.toLocaleString('en')} rules`, rows)
}

async function compile (family: Family, distribution: Distribution): Promise<Row> {
  const rules = Array.from({ length: COMPILED }, (_, i) => blockOf(family, distribution, i, COMPILED))
  const times = Array.from({ length: 5 }, () => {
    const begin = performance.now()
    compileIps(rules)
    return performance.now() - begin
  })
  const before = await bytesInUse()
  const kept = compileIps(rules)
  const megabytes = (await bytesInUse() - before) / 1e6
  // keeps it from being collected until here
  kept?.('::1')
  return { '': `${family}, ${distribution}`, ms: median(times).toFixed(1), MB: megabytes.toFixed(2) }
}

/** Collects garbage first. Array buffers are freed a turn later. */
async function bytesInUse (): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let turn = 0; turn < 4; turn++) {
    collect()
    await new Promise(resolve => setImmediate(resolve))
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/**
 * Blocks are scattered over the family's address space (IPv6: over one registry's), or consecutive. If there are fewer
 * blocks, they are larger, so that there are enough different addresses to hit.
 */
function blockOf (family: Family, distribution: Distribution, i: number, size: number): string {
  if (family === 'ipv4') {
    const prefix = size > 1000 ? 22 : size > 10 ? 18 : 12
    return flat(
      distribution === 'consecutive'
        ? `${dotted(0x01000000 + i * 2 ** (32 - prefix))}/${prefix}`
        : `${octets(4)}/${prefix}`
    )
  }
  return flat(
    distribution === 'consecutive'
      ? `2001:db8:${(i >> 16).toString(16)}:${(i & 0xffff).toString(16)}::/64`
      : `2001:${groups(3)}::/${60 + random(5)}`
  )
}

/** A random address of a block. */
function inside (rule: string): string {
  const [address = '', prefix] = rule.split('/')
  if (rule.includes(':')) return flat(address.replace('::', `:${groups(4)}`))
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
  return flat(dotted((a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) ^ random(2 ** (32 - Number(prefix)))))
}

function dotted (address: number): string {
  return [24, 16, 8, 0].map(shift => address >>> shift & 255).join('.')
}

function outside (family: Family): string {
  return flat(family === 'ipv4' ? octets(4) : `2001:${groups(7)}`)
}

function octets (count: number): string {
  return Array.from({ length: count }, () => random(256)).join('.')
}

function groups (count: number): string {
  return Array.from({ length: count }, () => random(65536).toString(16)).join(':')
}

/** A flat string, as a socket's address is, rather than a concatenated or sliced one. */
function flat (text: string): string {
  return Buffer.from(text).toString('latin1')
}

function text (ns = NaN): string {
  if (ns >= 100_000) return `${(ns / 1000).toFixed(0)}k`
  return ns < 10 ? ns.toFixed(1) : ns.toFixed(0)
}

function load (name: string): unknown {
  for (const place of [process.env.BENCH_DEPS, '/tmp/bench-deps', process.cwd()]) {
    if (place === undefined) continue
    try {
      return createRequire(join(place, 'package.json'))(name)
    } catch {}
  }
  return null
}
