import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore } from '../../types/index.ts'
import type { Output } from './output.ts'
import type { VisibleState } from './visible.ts'
import { toSafeJson } from '../util/escape.ts'
import { inWords, reasonOf, report } from './print.ts'

/** How often the store is read without a hint, ms. */
const READ_EVERY = 1000

/**
 * Shows the states again whenever they have changed, until Ctrl-C: in place on a terminal, else below each other.
 * @throws what the first read throws; what fails later is told, and tried again
 * @returns the last states
 */
export async function watchStates (store: MaintenanceStore, read: () => Promise<VisibleState[]>, json: boolean, output: Output): Promise<VisibleState[]> {
  const { out, terminal = false, signal } = output
  let states = await read()
  let shown = ''
  let problem = ''
  let wake = new AbortController()
  Promise.resolve(store.watch(() => wake.abort())).catch(() => {})
  signal?.addEventListener('abort', () => wake.abort())

  function show (): void {
    const text = json ? states.map(state => `${toSafeJson({ v: 1, sites: [state] })}\n`).join('') : states.map(inWords).join('')
    if (text === shown) return
    const lines = shown.split('\n').length - 1
    // back to the first line, and away with what stands below
    out(`${terminal && !json && lines > 0 ? `\u001b[${lines}A\u001b[J` : ''}${text}`)
    shown = text
  }

  while (signal?.aborted !== true) {
    show()
    wake = new AbortController()
    await sleep(READ_EVERY, undefined, { signal: wake.signal }).catch(() => {})
    const now = await read().then(next => { states = next; return '' }, reasonOf)
    if (now !== problem && now !== '') report(output, now)
    problem = now
  }
  return states
}
