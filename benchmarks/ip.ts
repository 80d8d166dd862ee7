/**
 * What does a look at the ignored addresses cost, by their number? Run with `npx tsx benchmarks/ip.ts`.
 * For `ip-set` (it knows IPv4 and IPv6), install it in any folder and name it: BENCH_DEPS=/tmp/bench-deps.
 */
import { createRequire } from 'node:module'
import { BlockList } from 'node:net'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import ipaddr from 'ipaddr.js'
import { compileIps, type IpMatcher } from '../lib/match/ip.ts'
import { generator, measure, median, row, type Candidate } from './lib/measure.ts'

type Family = 'ipv4' | 'ipv6'
interface IpSet { add (address: string): void, contains (address: string): boolean }
type IpSetClass = new () => IpSet

const SIZES = [1, 10, 1_000, 100_000]
/** A power of two. */
const DISTINCT = 1 << 15
const LOOP = 'the loop alone'
const OURS = 'ours'
const random = generator()

const AnIpSet = load('ip-set') as IpSetClass | null
if (AnIpSet === null) console.log('ip-set is not installed (set BENCH_DEPS to the folder where it is): left out\n')

for (const family of ['ipv4', 'ipv6'] as const) {
  for (const distribution of ['all over', 'in a row'] as const) compareSizes(family, distribution)
}
await measureCompiling()

function compareSizes (family: Family, distribution: 'all over' | 'in a row'): void {
  console.log(`${family}, blocks ${distribution}: ns for one look-up, hit / miss`)
  row(['rules', ...SIZES.map(String)])
  const results = SIZES.map(size => ({
    size,
    hit: compare(family, distribution, size, true),
    miss: compare(family, distribution, size, false)
  }))
  for (const name of Object.keys(results[0]?.hit ?? {})) {
    row([name, ...results.map(({ hit, miss }) => `${text(hit[name])} / ${text(miss[name])}`)])
  }
  for (const kind of ['hit', 'miss'] as const) {
    const figure = (i: number, name: string): number => results[i]?.[kind][name] as number
    /** Without the loop, which all of them have. */
    const alone = (i: number, name: string): number => figure(i, name) - figure(i, LOOP)
    for (const [what, of] of [['', figure], [', the loop taken off', alone]] as const) {
      console.log(
        `  ${kind}${what}: ${(of(2, 'net.BlockList') / of(2, OURS)).toFixed(0)} times faster than net.BlockList at 1,000; ${(of(3, OURS) / of(0, OURS)).toFixed(2)} times its own figure of 1 rule at 100,000`
      )
    }
  }
  console.log()
}

function compare (family: Family, distribution: string, size: number, hit: boolean): Record<string, number> {
  const rules = Array.from({ length: size }, (_, i) => blockOf(family, distribution, i, size))
  const asked = Array.from({ length: DISTINCT }, () => hit ? inside(rules[random(size)] as string) : outside(family))
  const ours = compileIps(rules) as IpMatcher
  const list = new BlockList()
  for (const rule of rules) list.addSubnet(rule.split('/')[0] as string, Number(rule.split('/')[1]), family)
  const parsed = rules.map(rule => ipaddr.parseCIDR(rule))
  const candidates: Record<string, Candidate> = {
    [LOOP]: i => (asked[i & DISTINCT - 1] as string).length > 1,
    [OURS]: i => ours(asked[i & DISTINCT - 1]),
    'the same again (A/A)': i => ours(asked[i & DISTINCT - 1]),
    'net.BlockList': i => list.check(asked[i & DISTINCT - 1] as string, family),
    'ipaddr.js': i => {
      const address = ipaddr.parse(asked[i & DISTINCT - 1] as string)
      return parsed.some(block => address.match(block))
    }
  }
  if (AnIpSet !== null) {
    const set = new AnIpSet()
    for (const rule of rules) set.add(rule)
    candidates['ip-set'] = i => set.contains(asked[i & DISTINCT - 1] as string)
  }
  return measure(candidates)
}

async function measureCompiling (): Promise<void> {
  console.log('compiling 100,000 rules')
  row(['', 'ms', 'MB'])
  for (const family of ['ipv4', 'ipv6'] as const) {
    for (const distribution of ['all over', 'in a row']) {
      const rules = Array.from({ length: 100_000 }, (_, i) => blockOf(family, distribution, i, 100_000))
      const times = Array.from({ length: 5 }, () => {
        const begin = performance.now()
        compileIps(rules)
        return performance.now() - begin
      })
      const before = await bytesInUse()
      const kept = compileIps(rules)
      row([`${family}, ${distribution}`, median(times), ((await bytesInUse() - before) / 1e6).toFixed(2)])
      kept?.('::1')
    }
  }
}

/** After everything else was collected: array buffers are freed a turn later. */
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
 * All over the family's space (IPv6: of one registry), or one block after the other. Fewer blocks are wider, so that
 * there are as many different addresses to hit.
 */
function blockOf (family: Family, distribution: string, i: number, size: number): string {
  if (family === 'ipv4') {
    const prefix = size > 1000 ? 22 : size > 10 ? 18 : 12
    return flat(
      distribution === 'in a row'
        ? `${dotted(0x01000000 + i * 2 ** (32 - prefix))}/${prefix}`
        : `${octets(4)}/${prefix}`
    )
  }
  return flat(
    distribution === 'in a row'
      ? `2001:db8:${(i >> 16).toString(16)}:${(i & 0xffff).toString(16)}::/64`
      : `2001:${groups(3)}::/${60 + random(5)}`
  )
}

/** An address of a block: its last bits by chance. */
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

/** As a socket gives it: not a view of something larger. */
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
