import type { HistoryEntry, MaintenanceStore, ServerStatus } from '../../types/index.ts'
import { timeOf } from '../state/time.ts'
import { toSafeJson } from '../util/escape.ts'
import { withTimeout } from '../util/timeout.ts'
import { VERSION } from '../util/version.ts'
import type { Progress } from '../servers/wait.ts'
import { readArguments, UsageError, type Command } from './args.ts'
import type { Waited } from './change.ts'
import { createProgress, endInWords, entryInWords, HELP, inWords, reasonOf, serverInWords, tell } from './print.ts'
import { readStates } from './read-states.ts'

export const EXIT = { done: 0, failed: 1, usage: 2, late: 3, inMaintenance: 4 } as const

/** Where the command's text goes. */
export interface Output {
  out (text: string): void
  err (text: string): void
  /** Can lines be written over? */
  readonly terminal?: boolean
  /** Ctrl-C. */
  readonly signal?: AbortSignal
}

/** A store that does not answer by then has failed, ms. */
const ANSWER_TIMEOUT = 4000

/** @returns the exit code; never rejects */
export async function main (args: readonly string[], env: NodeJS.ProcessEnv, output: Output): Promise<number> {
  try {
    const command = readArguments(args, env)
    if (command === 'help' || command === 'version') {
      output.out(command === 'help' ? HELP : `${VERSION}\n`)
      return EXIT.done
    }
    // what only some calls need is loaded by those: the command starts faster
    const { openStore } = await import('../stores/open.ts')
    const { store } = await openStore(command.store, command.sites)
    try {
      return await perform(command, store, output)
    } finally {
      await store.close()
    }
  } catch (error) {
    const usage = error instanceof UsageError
    tell(output, reasonOf(error))
    if (usage) output.err('fastify-maintenance --help shows how it is used\n')
    return usage ? EXIT.usage : EXIT.failed
  }
}

function perform (command: Command, store: MaintenanceStore, output: Output): Promise<number> {
  switch (command.name) {
    case 'history': return list(command, output, readHistory(command, store), entryInWords)
    case 'servers': return list(command, output, readServers(command, store), server => serverInWords(server, timeOf(store)))
    case 'status': return showStatus(command, store, output)
    default: return change(command, store, output)
  }
}

async function readHistory ({ sites: [site = ''] }: Command, store: MaintenanceStore): Promise<HistoryEntry[]> {
  const { createHistory, HISTORY_MAX } = await import('../state/history.ts')
  return createHistory(store, site).read(HISTORY_MAX)
}

async function readServers ({ sites: [site = ''] }: Command, store: MaintenanceStore): Promise<ServerStatus[]> {
  const heartbeat = await import('../servers/heartbeat.ts')
  return heartbeat.readServers(store, site)
}

async function list<T extends HistoryEntry | ServerStatus> ({ json }: Command, { out }: Output, reading: Promise<T[]>, words: (entry: T) => string): Promise<number> {
  const entries = await withTimeout(reading, ANSWER_TIMEOUT)
  out(json ? `${toSafeJson(entries, 2)}\n` : entries.map(words).join(''))
  return EXIT.done
}

async function showStatus ({ sites, watch, json }: Command, store: MaintenanceStore, output: Output): Promise<number> {
  const read = () => withTimeout(readStates(store, sites), ANSWER_TIMEOUT)
  const states = watch ? await (await import('./watch.ts')).watchStates(store, read, json, output) : await read()
  if (!watch) output.out(json ? toJson(states) : states.map(inWords).join(''))
  return states.some(state => state.active) ? EXIT.inMaintenance : EXIT.done
}

async function change ({ sites, change, json, wait }: Command, store: MaintenanceStore, output: Output): Promise<number> {
  const { changeAll, together, waitForAll, warnUnserved } = await import('./change.ts')
  // all sites are looked at before the first is changed
  await withTimeout(readStates(store, sites, false), ANSWER_TIMEOUT)
  const states = await changeAll(store, sites, change)
  // people see the secret of a bypass whatever becomes of the wait
  if (!json) output.out(states.map(inWords).join(''))
  const waited = wait === null ? [] : await waitForAll(store, states, wait, json ? () => {} : createProgress(change.on, output))
  const problems = waited.map(({ problem }) => problem).filter(problem => problem !== null)
  if (json) output.out(toJson(states.map((state, i) => ({ ...state, ...outcome(waited[i]) }))))
  else if (waited.length > 0 && problems.length === 0) output.out(endInWords(together(waited.map(({ progress }) => progress as Progress)), change.on, output))
  else if (output.terminal === true && waited.length > 0) output.out('\n')
  await warnUnserved(store, sites, message => tell(output, message))
  for (const problem of problems) tell(output, problem)
  return problems.length > 0 ? EXIT.late : EXIT.done
}

/** What `--wait` adds to the JSON. */
const outcome = (waited: Waited | undefined): object => waited === undefined ? {} : { safe: waited.problem === null && waited.progress?.known !== 0, servers: waited.progress?.servers ?? [] }

/** One document: an object for one site, an array for several. */
const toJson = (values: readonly unknown[]): string => `${toSafeJson(values.length === 1 ? values[0] : values, 2)}\n`
