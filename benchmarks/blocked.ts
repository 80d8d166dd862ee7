/**
 * What does a blocked request cost, compared with a plain 200 to the same client and with other ways to send a 503?
 * Run with `npm run build && npx tsx benchmarks/blocked.ts`. GENERATIONS and SLICES make it run longer.
 */
import { API_CLIENT, BROWSER } from './lib/clients.js'
import { countAlone, countCells, findValgrind, PLUGIN, WHOLE } from './lib/count.ts'
import { compareOverSockets, type Candidate } from './lib/http.ts'
import { findNginx } from './lib/nginx.ts'
import { printTable } from './lib/table.ts'

const PLAIN = '200 {"hello":"world"}'

/** The first is the base of those of an API client, and the first of a browser that of the rest. */
const WHOLE_REQUESTS = [
  ['bare', 'no plugin'],
  ['bare', 'no plugin again (A/A)'],
  ['nothing else in the process', 'no plugin in the process, nor any other package'],
  ['empty hook', 'empty hook'],
  ['open', 'open'],
  ['blocked JSON', 'blocked JSON'],
  ['bare, a browser', 'no plugin, a browser'],
  ['blocked HTML', 'blocked HTML']
] as const

const nginx = findNginx()
if (nginx === null) console.log('nginx is not available: skipped\n')

await compareOverSockets([
  {
    title: 'Blocked requests of a browser',
    candidates: [
      ...twice('handler, HTML', 'a Fastify handler that sends the same page and headers', BROWSER, 503),
      blocked('closed', 'blocked HTML', BROWSER),
      blocked('view', 'reply.view of a much smaller page on every request', BROWSER)
    ]
  },
  {
    title: 'Blocked requests of an API client',
    candidates: [
      ...twice('handler, JSON', 'a Fastify handler that sends the same body and headers', API_CLIENT, 503),
      blocked('closed', 'blocked JSON', API_CLIENT)
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
    // they are far from the plugin
    narrow: 0.1,
    generations: 3,
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

/** Steadier than any clock: counts what Node and Fastify do for a whole request, without system calls. */
async function countWhole (): Promise<void> {
  const counts = await countAlone(WHOLE, PLUGIN, WHOLE_REQUESTS.map(([name]) => name))
  const browser = WHOLE_REQUESTS.findIndex(([name]) => name === 'bare, a browser')
  printTable(
    'Whole requests, instructions, compared with a plain 200 with the same headers',
    WHOLE_REQUESTS.map(([, label], i) => ({
      '': label,
      ...countCells(counts[i] ?? [], counts[i < browser ? 0 : browser] ?? [])
    }))
  )
}
