/**
 * What does a bypass add to a refused request that has no cookie for it? Run with `npm run build` and then
 * `npx tsx benchmarks/bypass.ts`: instructions in process (needs valgrind).
 */
import { count, findValgrind, IN_PROCESS, PLUGIN } from './lib/count.ts'
import { printTable } from './lib/table.ts'

const NONE = ['refused, no bypass', 'refused, no bypass, cookies of others']

if (findValgrind() === null) console.log('valgrind cannot be had here: instructions are not counted\n')
else await inProcess()

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
