import type { Bypass, HistoryEntry, MaintenanceStore, SiteState } from '../../types/index.ts'
import { bypassOf } from '../bypass/request.ts'
import { makeSecret } from '../bypass/secret.ts'
import { messageOf } from '../errors.ts'
import { createHistory, HISTORY_MAX } from '../history.ts'
import type { CheckedChange } from '../state/change.ts'
import { describe, NEVER_WRITTEN, type StateRecord } from '../state/record.ts'
import { readStored, updateRecord } from '../state/update.ts'
import { createSchedule } from '../state/schedule.ts'
import { isActive, upcomingOf } from '../state/window.ts'
import { openStore } from '../stores/index.ts'
import { withTimeout } from '../timeout.ts'
import { VERSION } from '../version.ts'
import { readArguments, UsageError, type Command } from './args.ts'
import { entryInWords, HELP, inWords } from './print.ts'

export const EXIT = { done: 0, failed: 1, usage: 2, inMaintenance: 4 } as const

/** Where the command's text goes. */
export interface Output {
  out (text: string): void
  err (text: string): void
}

/** Recurring windows are options of the servers: the store knows none. */
const NO_SCHEDULE = createSchedule([])

/** A store that does not answer by then has failed, ms. */
const ANSWER_TIMEOUT = 4000

/** @returns the exit code; never rejects */
export async function main (args: readonly string[], env: NodeJS.ProcessEnv, { out, err }: Output): Promise<number> {
  try {
    const command = readArguments(args, env)
    if (command === 'help' || command === 'version') {
      out(command === 'help' ? HELP : `${VERSION}\n`)
      return EXIT.done
    }
    if (command.name === 'history') {
      const entries = await readEntries(command)
      out(command.json ? toJson(entries) : entries.map(entryInWords).join(''))
      return EXIT.done
    }
    const states = await perform(command)
    out(command.json ? toJson(states.length === 1 ? states[0] : states) : states.map(inWords).join(''))
    return command.name === 'status' && states.some(state => state.active) ? EXIT.inMaintenance : EXIT.done
  } catch (error) {
    const usage = error instanceof UsageError
    err(`fastify-maintenance: ${messageOf(error).replace(/^maintenance: /, '')}\n${usage ? 'fastify-maintenance --help shows how it is used\n' : ''}`)
    return usage ? EXIT.usage : EXIT.failed
  }
}

async function readEntries ({ sites: [site = ''], store: option }: Command): Promise<HistoryEntry[]> {
  const { store } = await openStore(option, [])
  try {
    return await withTimeout(createHistory(store, site).read(HISTORY_MAX), ANSWER_TIMEOUT)
  } finally {
    await store.close()
  }
}

async function perform ({ name, sites, store: option, change }: Command): Promise<SiteState[]> {
  const { store } = await openStore(option, sites)
  try {
    // all sites are looked at before the first is changed
    const found = await withTimeout(Promise.all(sites.map(site => readState(store, site, name === 'status'))), ANSWER_TIMEOUT)
    if (name === 'status') return found.map((record, i) => toState(sites[i] as string, record))
    return await changeAll(store, sites, change)
  } finally {
    await store.close()
  }
}

type Changed = SiteState & { bypass?: Bypass }

/** One after the other: where one fails, the error names those that were changed before it. */
async function changeAll (store: MaintenanceStore, sites: readonly string[], change: CheckedChange): Promise<Changed[]> {
  const states: Changed[] = []
  for (const site of sites) {
    try {
      // a secret of its own for each site
      const own = typeof change.secret === 'string' ? { ...change, secret: makeSecret() } : change
      const state = toState(site, await updateRecord(store, site, own))
      states.push(typeof own.secret === 'string' ? { ...state, bypass: bypassOf(own.secret) } : state)
    } catch (error) {
      const changed = states.length === 0 ? '' : `; changed before: ${states.map(state => state.site).join(', ')}`
      throw new Error(`site '${site}': ${messageOf(error).replace(/^maintenance: /, '')}${changed}`)
    }
  }
  return states
}

/** @param strict what cannot be understood is an error; `on` and `off` repair it */
async function readState (store: MaintenanceStore, site: string, strict: boolean): Promise<StateRecord> {
  const stored = await readStored(store, site)
  if (stored.kind === 'record') return stored.record
  if (stored.kind === 'unreadable' && strict) throw new Error(`the state of site '${site}' cannot be understood: ${stored.reason}`)
  return NEVER_WRITTEN
}

function toState (site: string, record: StateRecord): SiteState {
  const now = Date.now()
  return describe(site, record, isActive(record, now), upcomingOf(record, NO_SCHEDULE, now))
}

const toJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`
