import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findProgram } from '../../test/fixtures/debian.ts'
import { formatInterval, medianInterval } from './interval.ts'
import { median } from './measure.ts'
import type { Row } from './table.ts'

export const IN_PROCESS = new URL('in-process.js', import.meta.url).pathname
export const WHOLE = new URL('whole.js', import.meta.url).pathname
/** The plugin as it is published. */
export const PLUGIN = new URL('../../dist/lib/entry.cjs', import.meta.url).pathname

/** Deterministic, on a single thread, and without garbage collection during a sample. */
const FLAGS = [
  '--single-threaded',
  '--predictable',
  '--hash-seed=1',
  '--random-seed=1',
  '--predictable-gc-schedule',
  '--min-semi-space-size=64',
  '--max-semi-space-size=64'
]
/** Many short samples: now and then V8 adds some 500,000 instructions of its own to one. */
const REQUESTS = { [IN_PROCESS]: 1000, [WHOLE]: 300 }
const SAMPLES = { [IN_PROCESS]: '12', [WHOLE]: '24' }
const WARM_UP = { [IN_PROCESS]: '15000', [WHOLE]: '8000' }

/** `null` if valgrind is not available. */
export const findValgrind = (): string | null => findProgram(['valgrind'], ['valgrind'])

/** The lowest of the samples in each scenario. */
export async function count (...args: Parameters<typeof countSamples>): Promise<Record<string, number>> {
  const samples = Object.entries(await countSamples(...args))
  return Object.fromEntries(samples.map(([name, counts]) => [name, Math.min(...counts)]))
}

/** A count, and its ratio to another one. */
export function countCells (counts: readonly number[], base: readonly number[]): Row {
  const ratio = medianInterval([counts.map((count, i) => count / (base[i] ?? NaN))])
  return {
    'instructions/request': Math.round(median(counts)).toLocaleString('en'),
    ratio: ratio.value.toFixed(4),
    '95 %': formatInterval(ratio, 4)
  }
}

/**
 * Counts the instructions per request in each scenario. Unlike times, the counts don't depend on the machine's load.
 * @param subject `IN_PROCESS` or `WHOLE`
 * @param plugin the module of the built plugin
 * @param names of scenarios with the same options: one application runs them in turn
 */
export async function countSamples (
  subject: string,
  plugin: string,
  names: readonly string[]
): Promise<Record<string, number[]>> {
  const folder = mkdtempSync(join(tmpdir(), 'count-'))
  const requests = REQUESTS[subject] as number
  try {
    await promisify(execFile)(
      findValgrind() as string,
      [
        '-q',
        '--tool=callgrind',
        '--smc-check=all-non-file',
        '--instr-atstart=no',
        '--dump-before=uv_loadavg',
        `--callgrind-out-file=${join(folder, 'counts')}`,
        process.execPath,
        ...FLAGS,
        subject,
        plugin,
        String(requests),
        ...names
      ],
      {
        env: {
          PATH: process.env.PATH,
          SAMPLES: process.env.SAMPLES ?? SAMPLES[subject],
          WARM_UP: process.env.WARM_UP ?? WARM_UP[subject],
          COUNTED: ''
        }
      }
    )
    return readCounts(folder, names, requests)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** callgrind writes a file at each mark, so every other file holds a sample, and the rest what happened in between. */
function readCounts (folder: string, names: readonly string[], requests: number): Record<string, number[]> {
  const totals = readdirSync(folder)
    .sort((a, b) => numberOf(a) - numberOf(b))
    .map(file => Number(/^totals: (\d+)/m.exec(readFileSync(join(folder, file), 'utf8'))?.[1]))
  const samples = totals.filter((_total, i) => i % 2 === 1)
  const each = samples.length / names.length
  if (!Number.isInteger(each) || each === 0) {
    throw new Error(`callgrind wrote ${totals.length} counts, which don't divide into ${names.length} scenarios`)
  }
  return Object.fromEntries(
    names.map((name, i) => [name, samples.slice(i * each, (i + 1) * each).map(total => total / requests)])
  )
}

/** Of `counts.12`; the last file has no number. */
function numberOf (file: string): number {
  return Number(file.split('.')[1] ?? Infinity)
}
