/**
 * What does a refused request cost, beside a plain 200 to the same client and beside other ways to refuse? Run with
 * `npm run build && npx tsx benchmarks/blocked.ts`. GENERATIONS and SLICES make it longer.
 */
import { count, findValgrind, PLUGIN, WHOLE } from './lib/count.ts'
import { BROWSER, compareOverSockets, type Candidate } from './lib/http.ts'
import { findNginx } from './lib/nginx.ts'
import { printTable } from './lib/table.ts'

const PROGRAM = { accept: 'application/json' }
const PLAIN = '200 {"hello":"world"}'

const nginx = findNginx()
if (nginx === null) console.log('nginx cannot be had here: left out\n')

await compareOverSockets([
  {
    title: 'Refused, to a browser',
    candidates: [
      ...twice('page', 'a Fastify handler that sends the same page and headers', BROWSER, 503),
      refused('on', 'refused, HTML', BROWSER),
      refused('send', 'reply.send of a ready page', BROWSER),
      refused('view', 'reply.view for each request', BROWSER),
      refused('express-on', 'Express 5, a middleware by hand', BROWSER)
    ]
  },
  {
    title: 'Refused, to a program',
    candidates: [
      ...twice('json', 'a Fastify handler that sends the same body and headers', PROGRAM, 503),
      refused('on', 'refused, JSON', PROGRAM),
      refused('throw', 'a thrown error', PROGRAM)
    ]
  },
  {
    title: 'Refused, beside a plain 200',
    candidates: [
      ...twice('bare', `plain Fastify ${PLAIN}`, PROGRAM, 200),
      refused('on', 'refused, JSON', PROGRAM)
    ]
  },
  {
    title: 'Without a framework: the line that one cannot cross',
    candidates: [
      ...twice('node', `plain node:http ${PLAIN}`, BROWSER, 200),
      refused('node-page', 'node:http with our page and headers', BROWSER),
      ...(nginx === null ? [] : [refused('nginx', 'nginx, `return 503`', BROWSER)])
    ]
  }
])

if (findValgrind() === null) console.log('valgrind cannot be had here: instructions are not counted\n')
else await countWhole()

function twice (server: string, label: string, headers: Record<string, string>, statusCode: number): Candidate[] {
  const candidate = { server, headers, statusCode }
  return [{ ...candidate, label }, { ...candidate, label: 'the same again (A/A)' }]
}

function refused (server: string, label: string, headers: Record<string, string>): Candidate {
  return { server, label, headers, statusCode: 503 }
}

/** Steadier than any clock: what Node and Fastify do for a whole request, system calls left out. */
async function countWhole (): Promise<void> {
  const groups = [['bare', 'bare, a browser'], ['empty hook'], ['off', 'refused JSON', 'refused HTML']]
  const counts: Record<string, number> = Object.assign({}, ...await Promise.all(groups.map(countLeast)))
  const like = (name: string): string => ['bare, a browser', 'refused HTML'].includes(name) ? 'bare, a browser' : 'bare'
  printTable('Whole requests, instructions', Object.entries(counts).map(([name, instructions]) => ({
    '': name,
    'instructions/request': Math.round(instructions).toLocaleString('en'),
    'ratio to a plain 200 with the same headers': (instructions / (counts[like(name)] as number)).toFixed(4)
  })))
}

/** In some processes V8 never compiles the path of a request well, which costs 79 % more: the best of three counts. */
async function countLeast (names: string[]): Promise<Record<string, number>> {
  const processes = await Promise.all([1, 2, 3].map(() => count(WHOLE, PLUGIN, names)))
  return Object.fromEntries(names.map(name => [name, Math.min(...processes.map(counts => counts[name] as number))]))
}
