import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
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

/**
 * Deterministic and on a single thread. Samples contain scavenges, but no part of a full garbage collection, which
 * makes every write slower.
 */
const FLAGS = [
  '--single-threaded',
  '--no-incremental-marking',
  '--predictable',
  '--predictable-gc-schedule',
  '--min-semi-space-size=64',
  '--max-semi-space-size=64'
]
/** Many short samples: now and then V8 adds some 500,000 instructions of its own to one. */
const REQUESTS = { [IN_PROCESS]: 1000, [WHOLE]: 300 }
const SAMPLES = { [IN_PROCESS]: '12', [WHOLE]: '9' }
/** V8 still compiles something after 7,000 whole requests. */
const WARM_UP = { [IN_PROCESS]: '15000', [WHOLE]: '8000' }

/** `null` if valgrind is not available. */
export const findValgrind = (): string | null => findProgram(['valgrind'], ['valgrind'])

/** The lowest of the samples in each scenario. */
export async function count (...args: Parameters<typeof countSamples>): Promise<Record<string, number>> {
  const samples = Object.entries(await countSamples(...args))
  return Object.fromEntries(samples.map(([name, counts]) => [name, Math.min(...counts)]))
}

/** The samples of each process. */
export type Counts = readonly (readonly number[])[]

/**
 * Counts each scenario in processes of its own. They differ in their random numbers and hashes, so V8 compiles some
 * code in another way.
 * @param names may contain a name twice (A/A)
 */
export async function countAlone (
  subject: string, plugin: string, names: readonly string[], processes = 2
): Promise<Counts[]> {
  const counts = names.map(() => [] as number[][])
  const jobs = names.flatMap((name, i) => Array.from({ length: processes }, (_, j) => async () => {
    const samples = await countSamples(subject, plugin, [name], 1 + i * processes + j)
    ;(counts[i] as number[][])[j] = samples[name] ?? []
  }))
  // each keeps one core busy
  await Promise.all(Array.from({ length: availableParallelism() }, async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job()
  }))
  return counts
}

/** A count, and its ratio to another one. */
export function countCells (counts: Counts, base: Counts): Row {
  const ratio = medianInterval(counts.map((samples, i) => samples.map(sample => sample / median(base[i] ?? []))))
  return {
    'instructions/request': Math.round(median(counts.flat())).toLocaleString('en'),
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
  names: readonly string[],
  seed = 1
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
        `--hash-seed=${seed}`,
        `--random-seed=${seed}`,
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
