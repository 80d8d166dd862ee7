/**
 * What does `bypass` add to a blocked request that has no valid bypass cookie? Run with
 * `npm run build && npx tsx benchmarks/bypass.ts`. Counts instructions in process, so it needs valgrind.
 */
import { countAlone, countCells, findValgrind, IN_PROCESS, PLUGIN } from './lib/count.ts'
import { printTable } from './lib/table.ts'

/** The first two are their bases, and the third is the first again (A/A). */
const NAMES = [
  'blocked, no bypass',
  'blocked, no bypass, other cookies',
  'blocked, no bypass',
  'blocked, no secret',
  'blocked, with a secret',
  'blocked, with a secret, other cookies'
]

if (findValgrind() === null) console.log('valgrind is not available: instructions are not counted\n')
else await countInProcess()

async function countInProcess (): Promise<void> {
  const counts = await countAlone(IN_PROCESS, PLUGIN, NAMES, 1)
  printTable('Blocked in process, compared with no bypass and the same cookies', NAMES.map((name, i) => ({
    '': NAMES.indexOf(name) < i ? `${name} again (A/A)` : name,
    ...countCells(counts[i] ?? [], counts[Number(name.includes('other cookies'))] ?? [])
  })))
}
