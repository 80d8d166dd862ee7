/**
 * What does `bypass` add to a blocked request that has no valid bypass cookie? Run with
 * `npm run build && npx tsx benchmarks/bypass.ts`. Counts instructions in process, so it needs valgrind.
 */
import { countCells, countSamples, findValgrind, IN_PROCESS, PLUGIN } from './lib/count.ts'
import { printTable } from './lib/table.ts'

const BASES = ['blocked, no bypass', 'blocked, no bypass, other cookies']
/** Each in its own process. The second is the first again (A/A). */
const GROUPS = [
  BASES,
  BASES,
  ['blocked, no secret'],
  ['blocked, with a secret', 'blocked, with a secret, other cookies']
]

if (findValgrind() === null) console.log('valgrind is not available: instructions are not counted\n')
else await countInProcess()

async function countInProcess (): Promise<void> {
  const groups = await Promise.all(GROUPS.map(names => countSamples(IN_PROCESS, PLUGIN, names)))
  const baseOf = (name: string): number[] => groups[0]?.[BASES[Number(name.includes('other cookies'))] as string] ?? []
  const rows = groups.flatMap((counts, i) => Object.entries(counts).map(([name, samples]) => ({
    '': i === 1 ? `${name} again (A/A)` : name,
    ...countCells(samples, baseOf(name))
  })))
  printTable('Blocked in process, compared with no bypass and the same cookies', rows)
}
