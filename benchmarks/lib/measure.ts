/** The code to measure, called with a counter to pick its input by. */
export type Candidate = (i: number) => unknown

/** Keeps V8 from optimising the measured calls away. */
const sink = { count: 0 }

const ROUNDS = Number(process.env.SLICES ?? 61)
/** How long a candidate runs in each round (ms): less than the scheduler's time slice. */
const SLICE = 1
/** Upper bound on the calls of a round, for candidates that do next to nothing. */
const CALLS_MAX = 2 ** 20

/** @returns the lower quartile of each, in ns per call: other load can only add time */
export function measure (candidates: Readonly<Record<string, Candidate>>): Record<string, number> {
  return Object.fromEntries(Object.entries(sample(candidates)).map(([name, times]) => [name, quartile(times)]))
}

/**
 * Interleaves the candidates in rounds, so that other load on the machine affects all of them alike.
 * @returns the times of each, in ns per call
 */
export function sample (candidates: Readonly<Record<string, Candidate>>): Record<string, number[]> {
  const all = Object.entries(candidates).map(([name, candidate]) => ({
    name,
    candidate,
    calls: calibrate(candidate),
    times: [] as number[]
  }))
  for (let round = 0; round < ROUNDS; round++) {
    for (const { candidate, calls, times } of round % 2 === 0 ? all : all.toReversed()) {
      times.push(run(candidate, calls, round * calls) / calls)
    }
  }
  return Object.fromEntries(all.map(({ name, times }) => [name, times]))
}

/** Also warms the candidate up. Takes the faster of two runs, because one may have been interrupted. */
function calibrate (candidate: Candidate): number {
  let calls = 1
  while (calls < CALLS_MAX && Math.min(run(candidate, calls), run(candidate, calls)) < SLICE * 1e6) calls *= 2
  return calls
}

function run (candidate: Candidate, calls: number, first = 0): number {
  let count = 0
  const begin = process.hrtime.bigint()
  for (let i = first; i < first + calls; i++) if (candidate(i)) count++
  const time = Number(process.hrtime.bigint() - begin)
  sink.count += count
  return time
}

function quartile (values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 2] as number
}

export function median (values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] as number : mean(sorted.slice(middle - 1, middle + 1))
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** Times single calls (ms): the first, which runs before V8 has compiled anything, and the median. */
export function single (call: () => unknown, calls = 51): { first: number, median: number } {
  const times = Array.from({ length: calls }, () => run(call, 1) / 1e6)
  return { first: times[0] as number, median: median(times) }
}

/** Mulberry32, a pseudorandom number generator, with a fixed seed, so that every run measures the same data. */
export function generator (state = 1): (below: number) => number {
  return below => {
    state = state + 0x6d2b79f5 | 0
    let mixed = Math.imul(state ^ state >>> 15, state | 1)
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61)
    return Math.floor(((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32 * below)
  }
}
