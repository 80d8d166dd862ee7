// What does a refused request cost, beside a plain 200 to the same client and beside other ways to refuse?
import { BROWSER, measure, median, spread, type Candidate } from './lib/http.ts'

const PROGRAM = { accept: 'application/json' }

/** The first of each group is what the others are compared with; the second is the same again, and tells the noise. */
const groups: Candidate[][] = [
  [
    { server: 'bare', label: 'plain Fastify 200 {"hello":"world"}, to a browser', headers: BROWSER },
    { server: 'bare', label: 'the same again (A/A)', headers: BROWSER },
    { server: 'on', label: 'refused, HTML', headers: BROWSER },
    { server: 'page', label: 'a Fastify handler that sends the same page and headers', headers: BROWSER },
    { server: 'send', label: 'reply.send of a ready page', headers: BROWSER },
    { server: 'view', label: 'reply.view for each request', headers: BROWSER }
  ],
  [
    { server: 'bare', label: 'plain Fastify 200 {"hello":"world"}, to a program', headers: PROGRAM },
    { server: 'bare', label: 'the same again (A/A)', headers: PROGRAM },
    { server: 'on', label: 'refused, JSON', headers: PROGRAM },
    { server: 'throw', label: 'a thrown error', headers: PROGRAM }
  ],
  [
    { server: 'node', label: 'plain node:http 200 {"hello":"world"}, to a browser', headers: BROWSER },
    { server: 'node', label: 'the same again (A/A)', headers: BROWSER },
    { server: 'node-page', label: 'node:http with our page and headers', headers: BROWSER }
  ]
]

const figures = await measure(groups.flat(), { rounds: Number(process.env.ROUNDS ?? 9), requests: Number(process.env.REQUESTS ?? 40_000) })
for (const { length } of groups) {
  const group = figures.splice(0, length)
  const plainCpu = median(group[0]?.cpu ?? [])
  const plainRate = median(group[0]?.perSecond ?? [])
  console.table(group.map(({ label, cpu, perSecond }) => ({
    candidate: label,
    'CPU µs/request': median(cpu).toFixed(2),
    'CPU, of plain': (median(cpu) / plainCpu).toFixed(3),
    'middle half': spread(cpu, plainCpu),
    'requests/s': Math.round(median(perSecond)),
    'rate, of plain': (median(perSecond) / plainRate).toFixed(3),
    'middle half ': spread(perSecond, plainRate)
  })))
}
