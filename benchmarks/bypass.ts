/**
 * What does a bypass add to a refused request that has no cookie for it? Run with `npm run build` and then
 * `npx tsx benchmarks/bypass.ts`: instructions in process (needs valgrind), and CPU time over sockets.
 */
import { count, findValgrind, IN_PROCESS, PLUGIN } from './lib/count.ts'
import { compareOverSockets } from './lib/http.ts'
import { printTable } from './lib/table.ts'

const FOREIGN = { cookie: 'session=0123456789abcdef0123456789abcdef; theme=dark; consent=all' }
const NONE = ['refused, no bypass', 'refused, no bypass, cookies of others']

if (findValgrind() === null) console.log('valgrind cannot be had here: instructions are not counted\n')
else await inProcess()
await compareOverSockets([{}, FOREIGN].map(headers => ({
  title: `Refused over sockets, ${headers === FOREIGN ? 'with cookies of others' : 'no cookie'}`,
  candidates: [
    { server: 'closed', label: 'no bypass', headers, statusCode: 503 },
    { server: 'closed', label: 'the same again (A/A)', headers, statusCode: 503 },
    { server: 'bypass', label: 'bypass, a secret', headers, statusCode: 503 }
  ]
})))

/** The same requests each time: the counts repeat to a few in a thousand, whatever else the machine does. */
async function inProcess (): Promise<void> {
  const [base, ...others] = await Promise.all([NONE, NONE, ['refused, no secret'], ['refused, a secret', 'refused, a secret, cookies of others']].map(names => count(IN_PROCESS, PLUGIN, names)))
  const rows = [base, ...others].flatMap((counts, i) => Object.entries(counts ?? {}).map(([name, instructions]) => ({
    '': i === 1 ? `${name} again (A/A)` : name,
    'instructions/request': Math.round(instructions).toLocaleString('en'),
    ratio: (instructions / (base?.[NONE[Number(name.includes('cookies'))] as string] as number)).toFixed(4)
  })))
  printTable('Refused in process, ratio to no bypass with the same cookies', rows)
}
