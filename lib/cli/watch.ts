import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore } from '../../types/index.ts'
import { colored, reasonOf, tell, toDocument, type Output } from './output.ts'
import { reportInWords } from './print.ts'
import type { SiteReport } from './read-sites.ts'

/** How often the store is read without a hint, ms. */
const READ_EVERY = 1000

/**
 * Shows the states again whenever they have changed, until Ctrl-C: in place on a terminal, else below each other.
 * @throws what the first read throws; later failures are printed, and it reads again
 * @param place where the state is kept, for people; `null`: one JSON document for each change of one site
 * @returns the last states
 */
export async function watchSites (
  store: MaintenanceStore, read: () => Promise<SiteReport[]>, place: string | null, output: Output
): Promise<SiteReport[]> {
  const { out, terminal = false, signal } = output
  let states = await read()
  let shown = ''
  let last: SiteReport[] = []
  let problem = ''
  let wake = new AbortController()
  Promise.resolve(store.watch(() => wake.abort())).catch(() => {})
  signal?.addEventListener('abort', () => wake.abort())

  function show (): void {
    if (place === null) return showChanged()
    const text = colored(states.map(state => reportInWords(state, place)).join(''), output)
    if (stateOf(states) === stateOf(last)) return
    const lines = shown.split('\n').length - 1
    // back to the first line, and away with what stands below
    out(`${terminal && lines > 0 ? `\u001b[${lines}A\u001b[J` : ''}${text}`)
    shown = text
    last = states
  }

  function showChanged (): void {
    const changed = states.filter((state, i) => stateOf([state]) !== stateOf(last.slice(i, i + 1)))
    out(changed.map(state => toDocument([state])).join(''))
    last = states
  }

  while (signal?.aborted !== true) {
    show()
    wake = new AbortController()
    await sleep(READ_EVERY, undefined, { signal: wake.signal }).catch(() => {})
    const now = await read().then(next => { states = next; return '' }, reasonOf)
    if (now !== problem && now !== '') tell(output, now)
    problem = now
  }
  return states
}

/** What is worth showing again: the counters and times of the servers' heartbeats are not. */
const stateOf = (reports: readonly SiteReport[]): string =>
  JSON.stringify(reports.map(({ servers, ...state }) => [state, servers.map(({ id, sites }) => [id, sites])]))
