import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import autocannon from 'autocannon'

export interface Candidate {
  /** A name that `server.ts` knows. */
  readonly server: string
  readonly label: string
  readonly headers?: Record<string, string>
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

async function load ({ server, headers = {} }: Candidate, seconds: number) {
  const child = fork(new URL('./server.ts', import.meta.url), [server], { execArgv: ['--import', 'tsx', '--no-memory-reducer'] })
  try {
    const url = await answer(child) as string
    await autocannon({ url, headers, connections: CONNECTIONS, duration: 1 })
    await ask(child)
    const { requests } = await autocannon({ url, headers, connections: CONNECTIONS, duration: seconds })
    const { cpu } = await ask(child) as { cpu: number }
    return { cpu: cpu / requests.total, perSecond: requests.total / seconds }
  } finally {
    child.kill('SIGKILL')
  }
}

async function answer (child: ChildProcess): Promise<unknown> {
  const [message] = await once(child, 'message')
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
