/**
 * What does the decision on an ignored route cost, by the number of patterns? Run with `npx tsx benchmarks/routes.ts`.
 * A route seen before is decided by its remembered verdict; only where its template is wider than a pattern
 * does a look at the path follow: that is what the others do for every request.
 */
import type { FastifyRequest } from 'fastify'
import FindMyWay from 'find-my-way'
import { compileRoutes } from '../lib/match/route.ts'
import type { Route } from '../lib/route-config.ts'
import { compileRouteRule } from '../lib/route-rule.ts'
import { generator, measure, row, single, type Candidate } from './lib/measure.ts'

const SIZES = [1, 10, 1_000, 10_000]
const PATHS = 4096
const random = generator()
const router = {
  ignoreTrailingSlash: false,
  ignoreDuplicateSlashes: false,
  caseSensitive: true,
  useSemicolonDelimiter: false
}

console.log('ns for one decision, hit / miss')
row(['patterns', ...SIZES.map(String)])
const results = SIZES.map(size => ({ hit: compare(size, true), miss: compare(size, false) }))
for (const name of Object.keys(results[0]?.hit ?? {})) {
  row([name, ...results.map(({ hit, miss }) => `${text(hit[name])} / ${text(miss[name])}`)])
}
measureWorst()

function compare (size: number, hit: boolean): Record<string, number> {
  const patterns = Array.from({ length: size }, (_, i) => i % 2 === 0 ? `/area${i}/page${i}` : `/area${i}/files/*`)
  const paths = Array.from({ length: PATHS }, () =>
    hit ? held(patterns[random(size)] as string) : `/other${random(size)}/page${random(size)}`
  )
  const rule = compileRouteRule(compileRoutes(patterns, router), router, () => false)
  const requests = paths.slice(0, 64).map(url => ({ url }) as FastifyRequest)
  const known = requests.map(({ url }): Route => ({ declared: undefined, url, optionsOnly: false, verdicts: [] }))
  const wide = { declared: undefined, url: '/*', optionsOnly: false, verdicts: [] }
  const decide: Candidate = i => rule.reach(requests[i & 63] as FastifyRequest, known[i & 63] as Route) === 'yes'

  const expressions = patterns.map(pattern => new RegExp(`^${pattern.replace('*', '.*')}$`))
  const joined = new RegExp(expressions.map(({ source }) => source).join('|'))
  const findMyWay = FindMyWay()
  for (const pattern of patterns) findMyWay.on('GET', pattern, () => {})
  return measure({
    'loop and array alone': i => requests[i & 63] !== undefined && known[i & 63] !== undefined,
    'ours, static route': decide,
    'the same again (A/A)': i => decide(i),
    'ours, a route /*': i => rule.reach({ url: paths[i % PATHS] } as FastifyRequest, wide) === 'yes',
    'find-my-way': i => findMyWay.find('GET', paths[i % PATHS] as string),
    'one joined RegExp': i => joined.test(paths[i % PATHS] as string),
    'RegExp by RegExp': i => expressions.some(expression => expression.test(paths[i % PATHS] as string))
  })
}

function held (pattern: string): string {
  return pattern.replace('*', `file${random(1000)}.txt`)
}

/** What a hostile URL of 15 KB costs at most. */
function measureWorst (): void {
  const strings = Array.from({ length: 10_000 }, (_, i) => `/area${i}/files/*`)
  const deep = Array.from({ length: 100 }, (_, i) => `${'/a'.repeat(70 * i + 1)}/*`)
  const matchers = {
    '10,000 strings': compileRoutes(strings, router),
    '100 deep strings': compileRoutes([...deep, `${'/a'.repeat(7400)}b`], router),
    '10 RegExp': compileRoutes(
      Array.from({ length: 10 }, (_, i) => new RegExp(`^/a${i}?.*/[a-z]$`)),
      router
    ),
    '1,000 RegExp': compileRoutes(
      Array.from({ length: 1000 }, (_, i) => new RegExp(`^/a${i}?.*/[a-z]$`)),
      router
    ),
    'all four options': compileRoutes([...strings, ...deep], {
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
      caseSensitive: false,
      useSemicolonDelimiter: true
    })
  }
  const targets = {
    '/a/a/a…': '/a'.repeat(7500),
    '//////…': '/'.repeat(15_000),
    '/%61%61…': `/${'%61'.repeat(5000)}`,
    '/%C3%A9…': `/${'%C3%A9'.repeat(2500)}`,
    '/%25%25…': `/${'%25'.repeat(5000)}`,
    '/  …': `/${'%20'.repeat(5000)}`,
    '/a.a.…': `/${'a.'.repeat(7500)}`,
    'http://h…': `http://${'h'.repeat(14_990)}`
  }
  console.log('\na look at a target of 15 KB, ms: the first time / usually')
  row(['', ...Object.keys(matchers).map(name => name.slice(0, 12))].map((cell, i) => i === 0 ? cell : ` ${cell}`))
  for (const [name, target] of Object.entries(targets)) {
    row([name, ...Object.values(matchers).map(matcher => inMs(() => matcher.target(target)))])
  }
  console.log(
    `a route seen for the first time, 10,000 patterns: ${inMs(() => matchers['10,000 strings'].template(`/x${random(1e9)}/:id`))} ms`
  )
}

function inMs (call: () => unknown): string {
  const { first, median } = single(call)
  return `${first.toFixed(2)} / ${median.toFixed(2)}`
}

function text (ns = NaN): string {
  if (ns >= 100_000) return `${(ns / 1000).toFixed(0)}k`
  return ns < 100 ? ns.toFixed(1) : ns.toFixed(0)
}
