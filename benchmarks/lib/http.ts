import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { load } from './load.ts'

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

/** Until V8 has compiled what is called so often; in requests, since a busy machine makes few of them in a second. */
const WARM_UP = 20_000

/** What a browser asks a page with. */
export const BROWSER = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', 'accept-language': 'de-DE,de;q=0.9', 'accept-encoding': 'gzip, deflate, br' }

/**
 * Each round starts a fresh server process for every candidate, in shuffled order, and loads it from this
 * process. CPU time of the server for each request is what is compared: it is steadier than the clock.
 */
export async function measure (candidates: readonly Candidate[], { rounds, requests }: { rounds: number, requests: number }): Promise<Figure[]> {
  const figures = candidates.map(({ label }) => ({ label, cpu: [] as number[], perSecond: [] as number[] }))
  for (let round = 0; round < rounds; round++) {
    for (const i of shuffled(candidates.length)) {
      const { cpu, perSecond } = await measureOne(candidates[i] as Candidate, requests)
      figures[i]?.cpu.push(cpu)
      figures[i]?.perSecond.push(perSecond)
      process.stderr.write('.')
    }
  }
  process.stderr.write('\n')
  return figures
}

async function measureOne ({ server, headers = {} }: Candidate, requests: number) {
  const child = fork(new URL('./server.ts', import.meta.url), [server], { execArgv: ['--import', 'tsx', '--no-memory-reducer'] })
  try {
    const url = await answer(child) as string
    await load({ url, headers, connections: CONNECTIONS, requests: WARM_UP })
    await ask(child)
    const perSecond = await load({ url, headers, connections: CONNECTIONS, requests })
    const { cpu } = await ask(child) as { cpu: number }
    return { cpu: cpu / requests, perSecond }
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

/** The middle half of what was measured, over a figure. */
export function spread (values: readonly number[], of: number): string {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => ((sorted[Math.floor(sorted.length * share)] ?? NaN) / of).toFixed(2)
  return `${at(0.25)}–${at(0.75)}`
}

function shuffled (length: number): number[] {
  const order = Array.from({ length }, (_, i) => i)
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[order[i], order[j]] = [order[j] as number, order[i] as number]
  }
  return order
}
