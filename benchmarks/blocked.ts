// What does a refused request cost, beside a plain 200 and beside other ways to refuse?
import { measure, median, type Candidate } from './lib/http.ts'

const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', 'accept-language': 'de-DE,de;q=0.9', 'accept-encoding': 'gzip, deflate, br' }

const candidates: Candidate[] = [
  { server: 'bare', label: 'plain Fastify 200 {"hello":"world"}' },
  { server: 'bare', label: 'the same again (A/A)' },
  { server: 'bare', label: 'the same, with the headers of a browser', headers: browser },
  { server: 'on', label: 'refused, JSON' },
  { server: 'on', label: 'refused, HTML', headers: browser },
  { server: 'send', label: 'reply.send of a ready page', headers: browser },
  { server: 'view', label: 'reply.view for each request', headers: browser },
  { server: 'throw', label: 'a thrown error' }
]

const figures = await measure(candidates, { rounds: Number(process.env.ROUNDS ?? 7), seconds: Number(process.env.SECONDS ?? 2) })
const [bare] = figures
console.table(figures.map(({ label, cpu, perSecond }) => ({
  candidate: label,
  'CPU µs/request': median(cpu).toFixed(2),
  'CPU ratio to plain': (median(cpu) / median(bare?.cpu ?? [])).toFixed(3),
  'requests/s': Math.round(median(perSecond)),
  'rate, of plain': (median(perSecond) / median(bare?.perSecond ?? [])).toFixed(3)
})))
