/**
 * What does deciding whether a route is ignored cost, by the number of patterns? Run with
 * `npx tsx benchmarks/routes.ts`. The plugin remembers the verdict for each route, and looks at the path only if the
 * route matches more than a pattern does, such as `/*`. The alternatives look at the path of every request.
 */
import type { FastifyRequest } from 'fastify'
import FindMyWay from 'find-my-way'
import { compileRoutes } from '../lib/match/route.ts'
import type { Route } from '../lib/route-config.ts'
import { compileRouteRule } from '../lib/route-rule.ts'
import { generator, measure, single, type Candidate } from './lib/measure.ts'
import { printTable } from './lib/table.ts'

const SIZES = [1, 10, 1_000, 10_000]
const PATHS = 4096
const random = generator()
const router = {
  ignoreTrailingSlash: false,
  ignoreDuplicateSlashes: false,
  caseSensitive: true,
  useSemicolonDelimiter: false
}

compareSizes()
measureHostile()

function compareSizes (): void {
  const results = SIZES.map(size => ({
    column: `${size.toLocaleString('en')} pattern${size === 1 ? '' : 's'}`,
    hit: compare(size, true),
    miss: compare(size, false)
  }))
  printTable('ns per decision, hit / miss', Object.keys(results[0]?.hit ?? {}).map(name => ({
    '': name,
    ...Object.fromEntries(results.map(({ column, hit, miss }) => [column, `${text(hit[name])} / ${text(miss[name])}`]))
  })))
}

function compare (size: number, hit: boolean): Record<string, number> {
  const patterns = Array.from({ length: size }, (_, i) => i % 2 === 0 ? `/area${i}/page${i}` : `/area${i}/files/*`)
  const paths = Array.from({ length: PATHS }, () =>
    hit ? pathOf(patterns[random(size)] as string) : `/other${random(size)}/page${random(size)}`
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
    'the loop alone': i => requests[i & 63] !== undefined && known[i & 63] !== undefined,
    'fastify-maintenance, static route': decide,
    'the same again (A/A)': i => decide(i),
    'fastify-maintenance, route /*': i => rule.reach({ url: paths[i % PATHS] } as FastifyRequest, wide) === 'yes',
    'find-my-way': i => findMyWay.find('GET', paths[i % PATHS] as string),
    'one combined RegExp': i => joined.test(paths[i % PATHS] as string),
    'one RegExp after another': i => expressions.some(expression => expression.test(paths[i % PATHS] as string))
  })
}

function pathOf (pattern: string): string {
  return pattern.replace('*', `file${random(1000)}.txt`)
}

/** Upper bound of what a hostile URL of 15 KB costs. */
function measureHostile (): void {
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
    '/%20%20…': `/${'%20'.repeat(5000)}`,
    '/a.a.…': `/${'a.'.repeat(7500)}`,
    'http://h…': `http://${'h'.repeat(14_990)}`
  }
  printTable('ms per target of 15 KB, first / median', Object.entries(targets).map(([label, target]) => ({
    '': label,
    ...Object.fromEntries(Object.entries(matchers).map(([name, matcher]) => [name, inMs(() => matcher.target(target))]))
  })))
  const unseen = inMs(() => matchers['10,000 strings'].template(`/x${random(1e9)}/:id`))
  console.log(`A new route, with 10,000 patterns: ${unseen} ms.\n`)
}

function inMs (call: () => unknown): string {
  const { first, median } = single(call)
  return `${first.toFixed(2)} / ${median.toFixed(2)}`
}

function text (ns = NaN): string {
  if (ns >= 100_000) return `${(ns / 1000).toFixed(0)}k`
  return ns < 100 ? ns.toFixed(1) : ns.toFixed(0)
}
