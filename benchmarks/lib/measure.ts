/** One way to do it: is called with a number that walks through its data. */
export type Candidate = (i: number) => unknown

/** Keeps what was computed from being optimised away. */
export const sink = { count: 0 }

const ROUNDS = Number(process.env.SLICES ?? 61)
/** How long a candidate runs in each round, ms: shorter than the system lets one process run before the next. */
const SLICE = 1
/** An empty loop over the data, measured to be taken off, may take no time that grows. */
const CALLS_MAX = 2 ** 20

/**
 * Interleaves the candidates in rounds, so that whatever else the machine does falls on all of them alike.
 * @returns the lower quartile of each, in ns for one call: what else runs on the machine can only add
 */
export function measure (candidates: Readonly<Record<string, Candidate>>): Record<string, number> {
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
  return Object.fromEntries(all.map(({ name, times }) => [name, quartile(times)]))
}

/** Also what compiles the candidate. Two runs, because one may have been interrupted. */
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
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number
}

/** A single call, ms: the median of some, and the first one, which finds nothing compiled. */
export function single (call: () => unknown, calls = 51): { first: number, median: number } {
  const times = Array.from({ length: calls }, () => run(call, 1) / 1e6)
  return { first: times[0] as number, median: median(times) }
}

/** Numbers below a bound, the same in every run. */
export function generator (state = 1): (below: number) => number {
  return below => {
    state = Math.imul(state ^ state >>> 15, state | 1) + 0x6d2b79f5 | 0
    const mixed = Math.imul(state ^ state >>> 16, 0x45d9f3b)
    return Math.floor(((mixed ^ mixed >>> 16) >>> 0) / 4294967296 * below)
  }
}

/** Prints a row of a table. */
export function row (cells: readonly (string | number)[]): void {
  console.log(cells.map((cell, i) => {
    const text = typeof cell === 'number' ? cell < 100 ? cell.toFixed(1) : Math.round(cell).toLocaleString('en') : cell
    return i === 0 ? text.padEnd(26) : text.padStart(13)
  }).join(''))
}
