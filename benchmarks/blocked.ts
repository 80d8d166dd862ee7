/**
 * What does a blocked request cost, compared with a plain 200 to the same client and with other ways to send a 503?
 * Run with `npm run build && npx tsx benchmarks/blocked.ts`. GENERATIONS and SLICES make it run longer.
 */
import { API_CLIENT, BROWSER } from './lib/clients.js'
import { countCells, countSamples, findValgrind, PLUGIN, WHOLE } from './lib/count.ts'
import { compareOverSockets, type Candidate } from './lib/http.ts'
import { findNginx } from './lib/nginx.ts'
import { printTable } from './lib/table.ts'

const PLAIN = '200 {"hello":"world"}'

const nginx = findNginx()
if (nginx === null) console.log('nginx is not available: skipped\n')

await compareOverSockets([
  {
    title: 'Blocked requests of a browser',
    candidates: [
      ...twice('handler, HTML', 'a Fastify handler that sends the same page and headers', BROWSER, 503),
      blocked('closed', 'blocked HTML', BROWSER),
      blocked('send', 'reply.send of a ready-made page', BROWSER),
      blocked('view', 'reply.view on every request', BROWSER)
    ]
  },
  {
    title: 'Blocked requests of an API client',
    candidates: [
      ...twice('handler, JSON', 'a Fastify handler that sends the same body and headers', API_CLIENT, 503),
      blocked('closed', 'blocked JSON', API_CLIENT),
      blocked('throw', 'a thrown error', API_CLIENT)
    ]
  },
  {
    title: 'Blocked requests, compared with a plain 200',
    candidates: [
      ...twice('bare', `plain Fastify ${PLAIN}`, API_CLIENT, 200),
      blocked('closed', 'blocked JSON', API_CLIENT)
    ]
  },
  {
    title: 'Lower bounds: no framework',
    candidates: [
      ...twice('node', `plain node:http ${PLAIN}`, BROWSER, 200),
      blocked('node, HTML', 'node:http with the plugin\'s page and headers', BROWSER),
      ...(nginx === null ? [] : [blocked('nginx', 'nginx, `return 503`', BROWSER)])
    ]
  }
])

if (findValgrind() === null) console.log('valgrind is not available: instructions are not counted\n')
else await countWhole()

function twice (server: string, label: string, headers: Record<string, string>, statusCode: number): Candidate[] {
  const candidate = { server, headers, statusCode }
  return [{ ...candidate, label }, { ...candidate, label: 'the same again (A/A)' }]
}

function blocked (server: string, label: string, headers: Record<string, string>): Candidate {
  return { server, label, headers, statusCode: 503 }
}

/**
 * Steadier than any clock: counts what Node and Fastify do for a whole request, with garbage collections and without
 * system calls. One application is open first, and then closed, so that V8 has compiled all of it by then.
 */
async function countWhole (): Promise<void> {
  const groups = [['bare', 'bare, a browser'], ['empty hook'], ['open', 'blocked JSON', 'blocked HTML']]
  const samples = await Promise.all(groups.map(names => countSamples(WHOLE, PLUGIN, names)))
  const counts: Record<string, number[]> = Object.assign({}, ...samples)
  const baseOf = (name: string): number[] =>
    counts[['bare, a browser', 'blocked HTML'].includes(name) ? 'bare, a browser' : 'bare'] ?? []
  printTable(
    'Whole requests, instructions, compared with a plain 200 with the same headers',
    Object.entries(counts).map(([name, counts]) => ({ '': name, ...countCells(counts, baseOf(name)) }))
  )
}
