// What does a refused request cost, beside a plain 200 and beside other ways to refuse? Run with `npx tsx benchmarks/blocked.ts`.
import { count, DIST, findValgrind, WHOLE } from './lib/count.ts'
import { measure, printCompared, type Candidate } from './lib/http.ts'
import { findNginx } from './lib/nginx.ts'
import { printTable } from './lib/table.ts'

const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', 'accept-language': 'de-DE,de;q=0.9', 'accept-encoding': 'gzip, deflate, br' }
const refused = { statusCode: 503 }

const candidates: Candidate[] = [
  { server: 'bare', label: 'plain Fastify 200 {"hello":"world"}' },
  { server: 'bare', label: 'the same again (A/A)' },
  { server: 'bare', label: 'the same, with the headers of a browser', headers: browser },
  { server: 'on', label: 'refused, JSON', ...refused },
  { server: 'on', label: 'refused, HTML', headers: browser, ...refused },
  { server: 'send', label: 'reply.send of a ready page', headers: browser, ...refused },
  { server: 'view', label: 'reply.view for each request', headers: browser, ...refused },
  { server: 'throw', label: 'a thrown error', ...refused },
  { server: 'express-on', label: 'Express 5, a middleware by hand', headers: browser, ...refused },
  { server: 'node', label: 'node:http alone, a ready page', headers: browser, ...refused }
]
if (findNginx() === null) console.log('nginx cannot be had here: left out\n')
else candidates.push({ server: 'nginx', label: 'nginx, `return 503`', headers: browser, ...refused })

const figures = await measure(candidates, { rounds: Number(process.env.ROUNDS ?? 7), seconds: Number(process.env.SECONDS ?? 2) })
printCompared('A refused request, over sockets', figures)

if (findValgrind() === null) console.log('valgrind cannot be had here: instructions are not counted\n')
else await countWhole()

/** Steadier than any clock: what Node and Fastify do for a whole request, system calls left out. */
async function countWhole (): Promise<void> {
  const counts: Record<string, number> = {}
  for (const names of [['bare', 'bare, a browser'], ['off', 'refused JSON', 'refused HTML']]) Object.assign(counts, await count(WHOLE, DIST, names))
  const like = (name: string): string => ['bare, a browser', 'refused HTML'].includes(name) ? 'bare, a browser' : 'bare'
  printTable('Whole requests, instructions', Object.entries(counts).map(([name, instructions]) => ({
    '': name,
    'instructions/request': Math.round(instructions).toLocaleString('en'),
    'ratio to a plain 200 with the same headers': (instructions / (counts[like(name)] as number)).toFixed(4)
  })))
}
