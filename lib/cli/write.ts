import { existsSync } from 'node:fs'
import type { MaintenanceStore, ServerStatus, SiteState, WindowStatus } from '../../types/index.ts'
import { bypassOf } from '../bypass/request.ts'
import { makeSecret } from '../state/secret.ts'
import { withServersOfRuns } from '../servers/run-servers.ts'
import { createEntryReader, readAllServers } from '../servers/server-list.ts'
import { cancelWindow } from '../state/edit.ts'
import { codeOf } from '../errors.ts'
import { readStored } from '../state/read.ts'
import { NEVER_WRITTEN } from '../state/record.ts'
import { NO_SCHEDULE } from '../state/schedule.ts'
import { timeOf } from '../state/time.ts'
import { closedRecord, updateRecord } from '../state/write.ts'
import { momentOf } from '../state/window.ts'
import { colored, EXIT, isRefusal, reasonOf, tell, toDocument, UsageError, type Output } from './output.ts'
import type { Command, Write } from './parse.ts'
import { changeInWords, type TesterLink } from './print.ts'
import { knownSites, liveServers, servedBy, serversOf, toState, type SiteReport } from './read-sites.ts'
import { describeStore } from './store-address.ts'
import { hint, quoteHint } from './tokens.ts'
import { createProgress, waitFor } from './wait.ts'

/** `replaced` is for people only. */
type Written = SiteReport & { bypass?: TesterLink, replaced?: WindowStatus }

/** Writes one change to every site; all of them are checked before the first is changed. */
export async function writeAll (
  command: Command,
  write: Write,
  store: MaintenanceStore,
  output: Output
): Promise<number> {
  const servers = await readAllServers(store)
  await checkSites(command, store, servers)
  const change = write.change.secret
  if (typeof change === 'string') checkBypass(command, servers)
  const before = await tryEdits(command.sites, write, store, servers).catch(async error => {
    throw await withServersOfRuns(error, createEntryReader(store), () => timeOf(store))
  })
  const isNew = 'file' in command.store && !existsSync(command.store.file)
  const written: Written[] = []
  for (const site of command.sites) {
    const replaced = command.name === 'on' ? nowWindowOf(before.get(site)) : undefined
    written.push({
      ...(await writeSite(site, write, store, serversOf(servers, site), written)),
      ...(replaced && { replaced })
    })
  }
  return report(command, write, written, `${describeStore(command.store)}${isNew ? ' (created)' : ''}`, store, output)
}

/** A wrong name would close nothing, or make a site. @throws UsageError */
export async function checkSites (
  { sites, store: address, force, unquoted }: Command, store: MaintenanceStore, servers: readonly ServerStatus[]
): Promise<void> {
  if (force) return
  const served = servers.flatMap(server => server.sites.map(({ site }) => site))
  const isStored = async (site: string): Promise<boolean> => (await readStored(store, site)).kind !== 'missing'
  const unknown: string[] = []
  for (const site of sites) if (!served.includes(site) && !await isStored(site)) unknown.push(site)
  if (unknown.length === 0) return
  const sitesThere = await knownSites(store, servers)
  const names = unknown.map(site => `'${site}'`).join(', ')
  const exist = sitesThere.length === 0 ? 'no site is known there' : `known there: ${sitesThere.join(', ')}`
  throw new UsageError(
    `${unknown.length === 1 ? 'site' : 'sites'} ${names}: neither stored in ${describeStore(address)} nor served by a running server (${exist})${hint(unknown[0] as string, sitesThere)}${quoteHint(unquoted)}. Use --force if this is what you want`
  )
}

/** @throws UsageError */
export function checkBypass ({ sites, force }: Command, servers: readonly ServerStatus[]): void {
  for (const site of sites) {
    const live = liveServers(servers, site)
    const without = live.filter(({ bypassPath }) => bypassPath === null)
    if (without.length > 0) {
      throw new UsageError(
        `--bypass: ${without.map(({ label }) => label).join(', ')}: the option bypass is not set, so no link would work. Add bypass: {} to the plugin's options`
      )
    }
    if (live.length === 0 && !force) {
      throw new UsageError(
        `--bypass: no running server serves site '${site}', so the path of the link is unknown. Use --force to create one all the same`
      )
    }
  }
}

/** @returns what is stored @throws FST_ERR_MAINTENANCE_CHANGE, _RUNNING before anything is written */
async function tryEdits (
  sites: readonly string[], { change, toEdit }: Write, store: MaintenanceStore, servers: readonly ServerStatus[]
): Promise<Map<string, SiteState>> {
  const before = new Map<string, SiteState>()
  for (const site of sites) {
    const stored = await readStored(store, site)
    const now = timeOf(store)
    const record =
      stored.kind === 'record' ? stored.record : stored.kind === 'missing' ? NEVER_WRITTEN : closedRecord(now)
    const state = toState(store, site, record)
    try {
      toEdit(change)({ record, schedule: NO_SCHEDULE, moment: momentOf(now) })
    } catch (error) {
      throw state.active ? error : explainSchedule(error, site, liveServers(servers, site))
    }
    before.set(site, state)
  }
  return before
}

/** The schedule is an option of the servers, so the command doesn't know its windows. */
function explainSchedule (error: unknown, site: string, live: readonly ServerStatus[]): unknown {
  const closed = live.map(server => servedBy(server, site)).some(({ active, pinned }) => active && !pinned)
  return closed && codeOf(error) === 'FST_ERR_MAINTENANCE_CHANGE'
    ? new UsageError(
      `site '${site}' is closed by the schedule of its servers, which only they can change. To keep it closed for longer, use on with --for or --until`
    )
    : error
}

const nowWindowOf = (state: SiteState | undefined): WindowStatus | undefined =>
  state?.windows.find(({ kind, active }) => kind === 'now' && active)

async function writeSite (
  site: string,
  { change, toEdit }: Write,
  store: MaintenanceStore,
  known: Pick<SiteReport, 'servers' | 'lost'>,
  before: readonly SiteState[]
): Promise<Written> {
  const { secret } = change
  // a secret of its own for each site
  const own = typeof secret === 'string' ? makeSecret() : secret
  try {
    const record = await updateRecord(store, site, {
      edit: toEdit(own === undefined ? change : { ...change, secret: own })
    })
    const state = { ...toState(store, site, record), ...known }
    return typeof own === 'string' ? { ...state, bypass: linkOf(own, known.servers) } : state
  } catch (error) {
    if (before.length === 0 && isRefusal(error)) throw error
    const changed = before.length === 0 ? '' : `; changed before: ${before.map(state => state.site).join(', ')}`
    throw new Error(`site '${site}': ${reasonOf(error)}${changed}`)
  }
}

export const linkOf = (secret: string, [server]: readonly ServerStatus[]): TesterLink =>
  ({ ...bypassOf(secret, server?.bypassPath ?? undefined), verified: server !== undefined })

async function report (
  { json, wait }: Command,
  { closes }: Write,
  written: readonly Written[],
  place: string,
  store: MaintenanceStore,
  output: Output
): Promise<number> {
  // people see the link for testers whatever becomes of the wait
  if (!json) output.out(colored(written.map(site => changeInWords(site, place)).join(''), output))
  const problems = written.flatMap(site => opposites(site, closes ?? site.active))
  const documents: object[] = []
  for (const { replaced, ...site } of written) {
    const closed = closes ?? site.active
    const onProgress = json ? () => {} : createProgress(site.site, closed, output)
    if (wait === null) {
      documents.push(site)
      continue
    }
    const { problem, ...waited } = await waitFor(store, site, closed, wait, {
      onProgress,
      remark: text => tell(output, text)
    })
    // the line that was written over ends
    if (!json && output.terminal === true) output.out('\n')
    if (problem !== null) problems.push(problem)
    else if (!json && closed) output.out(`${site.site}: safe to proceed\n`)
    documents.push({ ...site, ...waited })
  }
  if (json) output.out(toDocument(documents, 2))
  for (const { site } of written.filter(({ servers }) => servers.length === 0)) {
    tell(output, `warning: no running server uses site '${site}' in ${place}`)
  }
  for (const problem of problems) tell(output, problem)
  return problems.length > 0 ? EXIT.unsafe : EXIT.done
}

/** Servers that will not follow. */
function opposites ({ site, servers }: SiteReport, closes: boolean): string[] {
  const pinned = servers
    .map(server => ({ server, served: servedBy(server, site) }))
    .filter(({ served }) => served.pinned && served.active !== closes)
  return pinned.map(
    ({ server, served }) =>
      `warning: site '${site}' stays ${served.active ? 'closed' : 'open'} on ${server.label}: it is pinned by its option 'pinned'`
  )
}

/** `cancel [site] [ID]`: one argument is the id of a window of the default site, or a site. */
export async function cancel (
  command: Command,
  write: Write,
  store: MaintenanceStore,
  output: Output
): Promise<number> {
  const [first, second] = command.args
  const stored = second === undefined && first !== undefined ? await readStored(store, 'default') : null
  const isId = stored?.kind === 'record' && stored.record.windows.some(({ id }) => id === first)
  const [site, id] = isId ? ['default', first] : [first ?? 'default', second]
  const toEdit: Write['toEdit'] = id === undefined ? write.toEdit : ({ by = null }) => cancelWindow(id, by)
  return writeAll({ ...command, sites: [site] }, { ...write, toEdit }, store, output)
}
