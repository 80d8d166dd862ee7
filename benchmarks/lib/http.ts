import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { halfWidth, inWords, medianInterval, type Interval } from './interval.ts'
import type { Load } from './load.ts'
import { median } from './measure.ts'
import { startNginx } from './nginx.ts'
import { printTable } from './table.ts'

export interface Candidate {
  /** A name that `server.ts` knows. */
  readonly server: string
  readonly label: string
  readonly headers?: Record<string, string>
  /** What it must answer, each time; 200 where nothing is said. */
  readonly statusCode?: number
  /** For the server's process. */
  readonly env?: NodeJS.ProcessEnv
}

/** Some that are compared with the first of them; the second is the same again, and tells the noise. */
export interface Group {
  readonly title: string
  readonly candidates: readonly Candidate[]
}

/** Each generation starts fresh processes: two processes of one program differ. */
const GENERATIONS = Number(process.env.GENERATIONS ?? 4)
/** More of them are played until every interval is as narrow as this, or there are too many. */
const GENERATIONS_MAX = Math.max(GENERATIONS, 6)
const NARROW = 0.02
/** The servers of a group take turns in slices, so that whatever else the machine does falls on all of them alike. */
const SLICES = Number(process.env.SLICES ?? 12)
const REQUESTS = Number(process.env.REQUESTS ?? 2000)
/** Until V8 has compiled the hot code; in requests, since a busy machine makes few of them in a second. */
const WARM_UP = 5 * REQUESTS
const CONNECTIONS = 50

/** What a browser asks a page with. */
export const BROWSER = {
  accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'accept-language': 'de-DE,de;q=0.9',
  'accept-encoding': 'gzip, deflate, br'
}

/**
 * Prints a table for each group. CPU time of the server for each request is what is compared, with that of the first
 * candidate in the same slice: it is steadier than the clock.
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

/** CPU time of a request, µs: for each candidate, slice by slice. */
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

/** A server that runs on its own. */
export interface Running {
  readonly url: string
  readonly pid: number
  /** The CPU time that it has used since it was asked last, µs. */
  cpu (): Promise<number>
  stop (): void
}

const start = ({ server, env = {} }: Candidate): Promise<Running> =>
  server === 'nginx' ? startNginx() : startServer(server, env)

/** @param name that `server.ts` knows */
export async function startServer (name: string, env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const child = startProcess('server.ts', CORE, [name], env)
  return {
    url: await answer(child) as string,
    pid: child.pid as number,
    cpu: async () => (await ask(child, 'cpu') as { cpu: number }).cpu,
    stop: () => child.kill('SIGKILL')
  }
}

// one for both: to wake a process on another core costs more than a request, in a virtual machine
const CORE = '0'

/** Pinned to a core, where the system can do that. */
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

/** The ratio of a candidate to the first one. */
const ratioOf = (generations: readonly Generation[], i: number): Interval =>
  medianInterval(generations.map(times => (times[i] ?? []).map((time, slice) => time / (times[0]?.[slice] ?? NaN))))

const isWide = (ratio: Interval): boolean => halfWidth(ratio) > NARROW * ratio.value

const isNarrow = ({ candidates }: Group, generations: readonly Generation[]): boolean =>
  !candidates.some((_candidate, i) => isWide(ratioOf(generations, i)))

/** An A/A pair farther apart than this voids its run. */
const BAND = 0.03
/** What readme.ts looks for. */
const VOID = 'void'

function print ({ title, candidates }: Group, generations: readonly Generation[]): void {
  const ratios = candidates.map((_candidate, i) => ratioOf(generations, i))
  printTable(title, candidates.map(({ label }, i) => ({
    '': label,
    'CPU µs/request': median(generations.flatMap(times => times[i] ?? [])).toFixed(1),
    'CPU ratio': (ratios[i] as Interval).value.toFixed(3),
    '95 %': i === 0 ? '' : inWords(ratios[i] as Interval)
  })))
  console.log(`${generations.length} generations of ${SLICES} slices.${isNarrow({ title, candidates }, generations) ? '' : ` This machine did not give intervals of ±${NARROW * 100} %.`}\n`)
  const again = ratios[1] as Interval
  if (Math.abs(again.value - 1) > BAND) {
    console.log(`**${VOID}**: the same twice is ${again.value.toFixed(3)} apart, so these ratios say nothing.\n`)
  }
}
