import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import autocannon from 'autocannon'
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

export interface Figure {
  readonly label: string
  /** CPU time of the server, µs. */
  readonly cpu: number[]
  readonly perSecond: number[]
}

const CONNECTIONS = 50

/**
 * Each round starts a fresh server process for every candidate, in shuffled order, and loads it from this
 * process. CPU time of the server for each request is what is compared: it is steadier than the clock.
 */
export async function measure (candidates: readonly Candidate[], { rounds, seconds }: { rounds: number, seconds: number }): Promise<Figure[]> {
  const figures = candidates.map(({ label }) => ({ label, cpu: [] as number[], perSecond: [] as number[] }))
  for (let round = 0; round < rounds; round++) {
    for (const i of shuffled(candidates.length)) {
      const { cpu, perSecond } = await load(candidates[i] as Candidate, seconds)
      figures[i]?.cpu.push(cpu)
      figures[i]?.perSecond.push(perSecond)
      process.stderr.write('.')
    }
  }
  process.stderr.write('\n')
  return figures
}

/** A server that runs on its own. */
export interface Running {
  readonly url: string
  /** The CPU time that it has used since it was asked last, µs. */
  cpu (): Promise<number>
  stop (): void
}

async function load ({ label, server, headers = {}, statusCode = 200, env = {} }: Candidate, seconds: number) {
  const { url, cpu, stop } = server === 'nginx' ? await startNginx() : await startServer(server, env)
  try {
    await autocannon({ url, headers, connections: CONNECTIONS, duration: 1 })
    await cpu()
    const { requests, errors, statusCodeStats = {} } = await autocannon({ url, headers, connections: CONNECTIONS, duration: seconds })
    const used = await cpu()
    if (errors > 0 || Object.keys(statusCodeStats).join() !== String(statusCode)) throw new Error(`${label}: not ${statusCode} but ${JSON.stringify(statusCodeStats)}, ${errors} errors`)
    return { cpu: used / requests.total, perSecond: requests.total / seconds }
  } finally {
    stop()
  }
}

async function startServer (name: string, env: NodeJS.ProcessEnv): Promise<Running> {
  const child = fork(new URL('./server.ts', import.meta.url), [name], { execArgv: ['--import', 'tsx', '--no-memory-reducer'], env: { ...process.env, ...env } })
  return {
    url: await answer(child) as string,
    cpu: async () => (await ask(child) as { cpu: number }).cpu,
    stop: () => child.kill('SIGKILL')
  }
}

async function answer (child: ChildProcess): Promise<unknown> {
  const ended = once(child, 'exit').then(([code]) => { throw new Error(`the server ended with ${code}`) })
  const [message] = await Promise.race([once(child, 'message'), ended])
  return message
}

/** The CPU time that the server has used since it was asked last. */
function ask (child: ChildProcess): Promise<unknown> {
  const message = answer(child)
  child.send('cpu')
  return message
}

export function median (values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] as number : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

function shuffled (length: number): number[] {
  const order = Array.from({ length }, (_, i) => i)
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[order[i], order[j]] = [order[j] as number, order[i] as number]
  }
  return order
}

/** An A/A pair farther apart than this voids its run. */
const BAND = 0.05
/** What readme.ts looks for. */
const VOID = 'void'

/** The medians, and their ratio to those of the first candidate, with the spread of the rounds. */
export function printCompared (title: string, figures: readonly Figure[]): void {
  const [base] = figures
  const ratioOf = (cpu: readonly number[]): number => median(cpu) / median(base?.cpu ?? [])
  printTable(title, figures.map(({ label, cpu, perSecond }) => ({
    '': label,
    'CPU µs/request': median(cpu).toFixed(1),
    'CPU ratio': ratioOf(cpu).toFixed(3),
    spread: spread(cpu.map((value, round) => value / (base?.cpu[round] ?? NaN))),
    'requests/s': Math.round(median(perSecond)).toLocaleString('en')
  })))
  const again = ratioOf(figures.find(({ label }) => label.endsWith('(A/A)'))?.cpu ?? [])
  if (!(Math.abs(again - 1) <= BAND)) console.log(`**${VOID}**: the same twice is ${again.toFixed(3)} apart; the machine was busy, and these times say nothing.\n`)
}
