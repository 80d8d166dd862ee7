import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { halfWidth, formatInterval, medianInterval, type Interval } from './interval.ts'
import type { Load } from './load.ts'
import { median } from './measure.ts'
import { startNginx } from './nginx.ts'
import { printTable } from './table.ts'

export interface Candidate {
  /** One of the names in `server.ts`. */
  readonly server: string
  readonly label: string
  readonly headers?: Record<string, string>
  /**
   * Expected of every response.
   * @default 200
   */
  readonly statusCode?: number
  /** Environment of the server's process. */
  readonly env?: NodeJS.ProcessEnv
}

/** Candidates to compare with the first one. The second is the first again (A/A), which shows the noise. */
interface Group {
  readonly title: string
  readonly candidates: readonly Candidate[]
}

/** Each generation starts fresh processes, because two processes of the same program differ. */
const GENERATIONS = Number(process.env.GENERATIONS ?? 4)
/** Upper bound: generations are added until every interval is narrow. */
const GENERATIONS_MAX = Math.max(GENERATIONS, 6)
/** Half the width of a narrow interval, relative to the ratio. */
const NARROW = 0.02
/** The servers of a group take turns in slices, so that other load on the machine affects all of them alike. */
const SLICES = Number(process.env.SLICES ?? 12)
const REQUESTS = Number(process.env.REQUESTS ?? 2000)
/** Enough requests for V8 to compile the hot code. */
const WARM_UP = 5 * REQUESTS
const CONNECTIONS = 50

/** Headers that a browser sends when it requests a page. */
export const BROWSER = {
  accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'accept-language': 'de-DE,de;q=0.9',
  'accept-encoding': 'gzip, deflate, br'
}

/**
 * Prints a table for each group. It compares the server's CPU time per request with that of the first candidate in the
 * same slice, because CPU time is steadier than wall-clock time.
 */
export async function compareOverSockets (groups: readonly Group[]): Promise<void> {
  const client = startProcess('load.ts', CORE)
  for (const group of groups) await compare(group, client)
  client.kill()
}

async function compare (group: Group, client: ChildProcess): Promise<void> {
  const generations: Generation[] = []
  do {
    generations.push(await playGeneration(group.candidates, client))
    process.stderr.write('.')
  } while (generations.length < (isNarrow(group, generations) ? GENERATIONS : GENERATIONS_MAX))
  process.stderr.write('\n')
  print(group, generations)
}

/** CPU time per request (µs) of each candidate in each slice. */
type Generation = readonly (readonly number[])[]

async function playGeneration (candidates: readonly Candidate[], client: ChildProcess): Promise<Generation> {
  const servers = await Promise.all(candidates.map(start))
  const times = candidates.map(() => [] as number[])
  try {
    for (const i of servers.keys()) await load(i, WARM_UP)
    for (let slice = 0; slice < SLICES; slice++) {
      for (const i of shuffled([...servers.keys()])) times[i]?.push(await load(i, REQUESTS))
    }
    return times
  } finally {
    for (const { stop } of servers) stop()
  }

  async function load (i: number, requests: number): Promise<number> {
    const { headers = {}, statusCode = 200 } = candidates[i] as Candidate
    const { url, cpu } = servers[i] as Running
    await cpu()
    await ask(client, { url, headers, statusCode, connections: CONNECTIONS, requests } satisfies Load)
    return await cpu() / requests
  }
}

/** A server in its own process. */
export interface Running {
  readonly url: string
  readonly pid: number
  /** The CPU time (µs) that the server has used since the last call. */
  cpu (): Promise<number>
  stop (): void
}

const start = ({ server, env = {} }: Candidate): Promise<Running> =>
  server === 'nginx' ? startNginx() : startServer(server, env)

/** @param name one of the names in `server.ts` */
export async function startServer (name: string, env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const child = startProcess('server.ts', CORE, [name], env)
  return {
    url: await answer(child) as string,
    pid: child.pid as number,
    cpu: async () => (await ask(child, 'cpu') as { cpu: number }).cpu,
    stop: () => child.kill('SIGKILL')
  }
}

// client and server share a core: in a virtual machine, waking a process on another one costs more than a request
const CORE = '0'

/** Pins the process to a core on Linux. */
export function startProcess (
  file: string, core: string, args: string[] = [], env: NodeJS.ProcessEnv = {}
): ChildProcess {
  const path = new URL(file, import.meta.url).pathname
  const node = [process.execPath, '--import', 'tsx', '--no-memory-reducer', path, ...args]
  const [program = '', ...rest] = process.platform === 'linux' ? ['taskset', '-c', core, ...node] : node
  return spawn(program, rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env: { ...process.env, ...env } })
}

function ask (child: ChildProcess, question: Load | 'cpu'): Promise<unknown> {
  const message = answer(child)
  child.send(question)
  return message
}

async function answer (child: ChildProcess): Promise<unknown> {
  const over = new AbortController()
  const ended = once(child, 'exit', over).then(([code]) => {
    throw new Error(`${child.spawnargs.at(-1)} ended with ${code}`)
  })
  const [message] = await Promise.race([once(child, 'message', over), ended])
  ended.catch(() => {})
  over.abort()
  return message
}

function shuffled<T> (values: readonly T[]): T[] {
  return values.map(value => ({ value, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ value }) => value)
}

/** Relative to the first candidate. */
const ratioOf = (generations: readonly Generation[], i: number): Interval =>
  medianInterval(generations.map(times => (times[i] ?? []).map((time, slice) => time / (times[0]?.[slice] ?? NaN))))

const isWide = (ratio: Interval): boolean => halfWidth(ratio) > NARROW * ratio.value

const isNarrow = ({ candidates }: Group, generations: readonly Generation[]): boolean =>
  !candidates.some((_candidate, i) => isWide(ratioOf(generations, i)))

/** If the two sides of the A/A pair differ by more than this, the table is void. */
const BAND = 0.03

function print ({ title, candidates }: Group, generations: readonly Generation[]): void {
  const ratios = candidates.map((_candidate, i) => ratioOf(generations, i))
  printTable(title, candidates.map(({ label }, i) => ({
    '': label,
    'CPU µs/request': median(generations.flatMap(times => times[i] ?? [])).toFixed(1),
    'CPU ratio': (ratios[i] as Interval).value.toFixed(3),
    '95 %': i === 0 ? '' : formatInterval(ratios[i] as Interval)
  })))
  const isEnough = isNarrow({ title, candidates }, generations)
  const width = isEnough ? '' : ` This machine was too noisy for intervals of ±${NARROW * 100} %.`
  console.log(`${generations.length} generations of ${SLICES} slices.${width}\n`)
  const again = ratios[1] as Interval
  // readme.ts looks for this word
  if (Math.abs(again.value - 1) > BAND) {
    console.log(`**void**: the A/A ratio is ${again.value.toFixed(3)}, so the other ratios are not reliable.\n`)
  }
}
