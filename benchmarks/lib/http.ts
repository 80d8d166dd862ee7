import { execFile, spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { halfWidth, formatInterval, medianInterval, type Interval } from './interval.ts'
import type { Load } from './load.ts'
import { median } from './measure.ts'
import { startNginx } from './nginx.ts'
import { CORE, pinTo } from './pin.ts'
import { printTable } from './table.ts'

export interface Candidate {
  /** One of the names in `server.js`. */
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
  /**
   * Half the width of a narrow interval, relative to the ratio.
   * @default 0.02
   */
  readonly narrow?: number
  /**
   * How many generations there are at least.
   * @default 6
   */
  readonly generations?: number
}

/** Many short generations of fresh processes: two processes of the same program differ more than two slices of one. */
const GENERATIONS = Number(process.env.GENERATIONS ?? 6)
/** Upper bound: generations are added until every interval is narrow. */
const GENERATIONS_MAX = GENERATIONS === 1 ? 1 : Math.max(GENERATIONS, 9)
/** The servers of a group take turns in slices, so that other load on the machine affects all of them alike. */
const SLICES = Number(process.env.SLICES ?? 6)
const REQUESTS = Number(process.env.REQUESTS ?? 2000)
/** Enough requests for V8 to compile the hot code. */
const WARM_UP = 3 * REQUESTS
const CONNECTIONS = 50
/**
 * What else an application may load. It moves code and objects around in memory, and that alone changes the CPU time of
 * a request by up to 15 %. So the servers of each generation load another choice of them.
 */
const PACKAGES = ['express', 'ioredis', 'eta', '@fastify/view', '@fastify/rate-limit', 'pg', 'croner']

/**
 * Prints a table for each group. It compares the server's CPU time per request with that of the first candidate in the
 * same slice, because CPU time is steadier than wall-clock time.
 */
export async function compareOverSockets (groups: readonly Group[]): Promise<void> {
  const client = startProcess('load.ts', CORE)
  try {
    for (const group of groups) await compare(group, client)
  } finally {
    client.kill()
  }
}

async function compare (group: Group, client: ChildProcess): Promise<void> {
  const generations: Generation[] = []
  do {
    generations.push(await playGeneration(group.candidates, client))
    process.stderr.write('.')
  } while (generations.length < (isNarrow(group, generations) ? leastOf(group) : GENERATIONS_MAX))
  process.stderr.write('\n')
  print(group, generations)
}

/** CPU time per request (µs) of each candidate in each slice. */
type Generation = readonly (readonly number[])[]

async function playGeneration (candidates: readonly Candidate[], client: ChildProcess): Promise<Generation> {
  const LOADED = PACKAGES.filter(() => Math.random() < 0.5).join()
  const servers = await Promise.all(candidates.map(({ server, env }) =>
    server === 'nginx' ? startNginx() : startServer(server, { ...env, LOADED })))
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

/** @param name one of the names in `server.js` */
export async function startServer (name: string, env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const child = spawn(
    process.execPath, [...FLAGS, pathOf('server.js'), name], { stdio: STDIO, env: { ...process.env, ...env } }
  )
  const url = await answer(child) as string
  // not earlier, so that several servers start at once
  if (isLinux) await promisify(execFile)('taskset', ['-a', '-cp', CORE, String(child.pid)])
  return {
    url,
    pid: child.pid as number,
    cpu: async () => (await ask(child, 'cpu') as { cpu: number }).cpu,
    stop: () => child.kill('SIGKILL')
  }
}

const isLinux = process.platform === 'linux'
const FLAGS = ['--no-memory-reducer']
const STDIO: StdioOptions = ['ignore', 'inherit', 'inherit', 'ipc']
const pathOf = (file: string): string => new URL(file, import.meta.url).pathname

/** Starts a client, on Linux pinned to a core. */
export function startProcess (file: string, core: string, args: string[] = []): ChildProcess {
  const node = [process.execPath, '--import', 'tsx', ...FLAGS, pathOf(file), ...args]
  const [program = '', ...rest] = [...pinTo(core), ...node]
  return spawn(program, rest, { stdio: STDIO })
}

/** Sends a question to a process. @returns its answer */
export function ask (child: ChildProcess, question: Load | 'cpu' | 'count'): Promise<unknown> {
  const message = answer(child)
  child.send(question)
  return message
}

/** The next message of a process. Rejects if the process ends instead. */
export async function answer (child: ChildProcess): Promise<unknown> {
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

const leastOf = ({ generations = GENERATIONS }: Group): number => Math.min(generations, GENERATIONS)
const narrowOf = ({ narrow = 0.02 }: Group): number => narrow

function isNarrow (group: Group, generations: readonly Generation[]): boolean {
  const ratios = group.candidates.map((_candidate, i) => ratioOf(generations, i))
  return ratios.every(ratio => halfWidth(ratio) <= narrowOf(group) * ratio.value)
}

/** If the two sides of the A/A pair differ by more than this, the table is void. */
const BAND = 0.03

function print (group: Group, generations: readonly Generation[]): void {
  const { title, candidates } = group
  const ratios = candidates.map((_candidate, i) => ratioOf(generations, i))
  printTable(title, candidates.map(({ label }, i) => ({
    '': label,
    'CPU µs/request': median(generations.flatMap(times => times[i] ?? [])).toFixed(1),
    'CPU ratio': (ratios[i] as Interval).value.toFixed(3),
    '95 %': i === 0 ? '' : formatInterval(ratios[i] as Interval)
  })))
  const isEnough = isNarrow(group, generations)
  const width = isEnough ? '' : ` Their intervals are still wider than ±${narrowOf(group) * 100} %.`
  console.log(`${generations.length} generations of ${SLICES} slices.${width}\n`)
  const again = ratios[1] as Interval
  // readme.ts looks for this word
  if (Math.abs(again.value - 1) > BAND) {
    console.log(`**void**: the A/A ratio is ${again.value.toFixed(3)}, so the other ratios are not reliable.\n`)
  }
}
