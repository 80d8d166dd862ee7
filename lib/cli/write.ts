import type { Bypass, MaintenanceStore, SiteState } from '../../types/index.ts'
import { bypassOf, DEFAULT_PATH } from '../bypass/request.ts'
import { makeSecret } from '../bypass/secret.ts'
import { codeOf } from '../errors.ts'
import type { Change } from '../state/change.ts'
import { cancelWindow, closeSite, openSite, updateWindow, type Edit } from '../state/edit.ts'
import { readStored } from '../state/read.ts'
import { timeOf } from '../state/time.ts'
import { updateRecord } from '../state/write.ts'
import { bypassPathOf, checkSites } from './check-sites.ts'
import { readSites, UsageError, type Call } from './parse.ts'
import { reasonOf } from './print.ts'
import { readExtend, readOff, readOn, readUpdate } from './read-change.ts'
import { recordOf, toState } from './read-states.ts'

export type Written = SiteState & { bypass?: Bypass }

/** What a command writes to each of its sites. */
interface Plan {
  readonly sites: readonly string[]
  /** @param secret of its own for each site, if the change makes one */
  readonly editOf: (before: SiteState, secret: string | undefined) => Edit
  readonly makesSecret: boolean
  /** Closes sites that nobody may have meant. */
  readonly closes: boolean
}

/** Writes what the command asks for, one site after the other. @throws UsageError before anything is written */
export async function write (store: MaintenanceStore, { name, words, values }: Call): Promise<Written[]> {
  const plan = await planOf(store, { name, words, values })
  if (plan.closes && values.force !== true) await checkSites(store, plan.sites, words)
  const paths = new Map<string, string>()
  if (plan.makesSecret) for (const site of plan.sites) paths.set(site, await pathOf(store, site, values.force === true))
  const written: Written[] = []
  for (const site of plan.sites) {
    const secret = plan.makesSecret ? makeSecret() : undefined
    const before = toState(site, recordOf(await readStored(store, site)), timeOf(store))
    const state = await writeSite(store, site, plan.editOf(before, secret), written)
    written.push(secret === undefined ? state : { ...state, bypass: bypassOf(secret, paths.get(site)) })
  }
  return written
}

async function pathOf (store: MaintenanceStore, site: string, force: boolean): Promise<string> {
  const path = await bypassPathOf(store, site)
  if (path === null && !force) throw new UsageError(`--bypass: no running server uses site '${site}', so its link cannot be known. Use --force for the default path`)
  return path ?? DEFAULT_PATH
}

async function planOf (store: MaintenanceStore, call: Call): Promise<Plan> {
  const { name, words, values } = call
  const plan = { makesSecret: false, closes: false }
  switch (name) {
    case 'off': {
      const change = readOff(values)
      return { ...plan, sites: readSites(words), editOf: () => openSite(change) }
    }
    case 'extend': {
      const end = words.at(-1)
      if (end === undefined) throw new UsageError("'extend' takes how long: extend 30m")
      const change = readExtend(values, end)
      return { ...plan, sites: readSites(words.slice(0, -1)), editOf: () => updateWindow(change, values.window) }
    }
    case 'change': {
      const editOf: Plan['editOf'] = (before, secret) => updateWindow(withSecret(readUpdate(values, targetOf(before, values.window)), secret), values.window)
      // all of it is checked before anything is written
      readUpdate(values, NOTHING)
      return { ...plan, sites: readSites(words), editOf, makesSecret: values.bypass === true }
    }
    case 'cancel': return { ...plan, ...await cancelPlan(store, call) }
    default: {
      const change = readOn(values)
      return { sites: readSites(words), editOf: (_before, secret) => closeSite(withSecret(change, secret)), makesSecret: values.bypass === true, closes: true }
    }
  }
}

/** A single word is the id of a window if the site has one of that name, else a site: ids cannot be site names. */
async function cancelPlan (store: MaintenanceStore, { words, values }: Call): Promise<Pick<Plan, 'sites' | 'editOf'>> {
  if (words.length > 2) throw new UsageError("'cancel' takes a site and the id of a window")
  const [first, second] = words
  const planned = recordOf(await readStored(store, 'default')).windows
  const isId = words.length === 1 && planned.some(({ id }) => id === first)
  const id = isId ? first : second
  return { sites: readSites(isId || first === undefined ? [] : [first]), editOf: () => cancelWindow(id, values.by ?? null) }
}

const NOTHING = { ignoreRoutes: [], ignoreIps: [], onlyRoutes: [] }

/** The window whose lists are added to. */
const targetOf = ({ windows }: SiteState, id: string | undefined) =>
  windows.find(window => id === undefined ? window.kind === 'now' : window.id === id) ?? windows[0] ?? NOTHING

const withSecret = (change: Change, secret: string | undefined): Change => secret === undefined ? change : { ...change, secret }

/** The error names the sites that were changed before it. */
async function writeSite (store: MaintenanceStore, site: string, edit: Edit, before: readonly Written[]): Promise<SiteState> {
  try {
    const record = await updateRecord(store, site, { edit })
    return toState(site, record, timeOf(store))
  } catch (error) {
    const changed = before.length === 0 ? '' : `; changed before: ${before.map(({ site }) => site).join(', ')}`
    const text = `site '${site}': ${reasonOf(error)}${changed}`
    const refused = codeOf(error) === 'FST_ERR_MAINTENANCE_CHANGE' || codeOf(error) === 'FST_ERR_MAINTENANCE_RUNNING'
    throw refused ? new UsageError(text) : new Error(text)
  }
}
