import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Load, Loaded } from './load.ts'
import { median } from './measure.ts'
import { startNginx } from './nginx.ts'
import { printTable, spread } from './table.ts'

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

interface Figure {
  /** CPU time of the server, µs. */
  readonly cpu: number[]
  readonly perSecond: number[]
}

const ROUNDS = Number(process.env.ROUNDS ?? 7)
const REQUESTS = Number(process.env.REQUESTS ?? 40_000)
/** Warm up until V8 has compiled the hot code; in requests, since a busy machine makes few of them in a second. */
const WARM_UP = REQUESTS / 2
const CONNECTIONS = 50

/** What a browser asks a page with. */
export const BROWSER = {
  accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'accept-language': 'de-DE,de;q=0.9',
  'accept-encoding': 'gzip, deflate, br'
}

/**
 * Prints a table for each group. A round starts a fresh server process for every candidate of all groups, in shuffled
 * order. CPU time of the server for each request is what is compared: it is steadier than the clock.
 */
export async function compareOverSockets (groups: readonly Group[]): Promise<void> {
  const candidates = groups.flatMap(group => group.candidates)
  const figures = new Map(candidates.map(candidate => [candidate, { cpu: [], perSecond: [] } as Figure]))
  const client = startProcess('load.ts')
  for (let round = 0; round < ROUNDS; round++) {
    for (const candidate of shuffled(candidates)) {
      const { cpu, perSecond } = await measure(candidate, client)
      figures.get(candidate)?.cpu.push(cpu)
      figures.get(candidate)?.perSecond.push(perSecond)
      process.stderr.write('.')
    }
  }
  process.stderr.write('\n')
  client.kill()
  for (const group of groups) print(group, group.candidates.map(candidate => figures.get(candidate) as Figure))
}

/** A server that runs on its own. */
export interface Running {
  readonly url: string
  /** The CPU time that it has used since it was asked last, µs. */
  cpu (): Promise<number>
  stop (): void
}

async function measure ({ server, headers = {}, statusCode = 200, env = {} }: Candidate, client: ChildProcess) {
  const { url, cpu, stop } = server === 'nginx' ? await startNginx() : await startServer(server, env)
  const load = (requests: number) =>
    ask(client, { url, headers, statusCode, connections: CONNECTIONS, requests } satisfies Load) as Promise<Loaded>
  try {
    await load(WARM_UP)
    await cpu()
    const { perSecond } = await load(REQUESTS)
    return { cpu: await cpu() / REQUESTS, perSecond }
  } finally {
    stop()
  }
}

async function startServer (name: string, env: NodeJS.ProcessEnv): Promise<Running> {
  const child = startProcess('server.ts', [name], env)
  return {
    url: await answer(child) as string,
    cpu: async () => (await ask(child, 'cpu') as { cpu: number }).cpu,
    stop: () => child.kill('SIGKILL')
  }
}

function startProcess (file: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return fork(new URL(file, import.meta.url), args, {
    execArgv: ['--import', 'tsx', '--no-memory-reducer'],
    env: { ...process.env, ...env }
  })
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

/** An A/A pair farther apart than this voids its run. */
const BAND = 0.05
/** What readme.ts looks for. */
const VOID = 'void'

/** The medians, and their ratio to those of the first candidate, with the spread of the rounds. */
function print ({ title, candidates }: Group, figures: readonly Figure[]): void {
  const [base, again] = figures as [Figure, Figure]
  const ratioOf = (figure: Figure, to: 'cpu' | 'perSecond'): number => median(figure[to]) / median(base[to])
  printTable(title, figures.map((figure, i) => ({
    '': candidates[i]?.label ?? '',
    'CPU µs/request': median(figure.cpu).toFixed(1),
    'CPU ratio': ratioOf(figure, 'cpu').toFixed(3),
    spread: spread(figure.cpu.map((value, round) => value / (base.cpu[round] as number))),
    'requests/s': Math.round(median(figure.perSecond)).toLocaleString('en'),
    'rate ratio': ratioOf(figure, 'perSecond').toFixed(3)
  })))
  const apart = ratioOf(again, 'cpu')
  if (Math.abs(apart - 1) > BAND) {
    console.log(
      `**${VOID}**: the same twice is ${apart.toFixed(3)} apart; the machine was busy, and these times say nothing.\n`
    )
  }
}
