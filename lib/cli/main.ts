import type { MaintenanceStore } from '../../types/index.ts'
import { codeOf } from '../errors.ts'
import { readAllServers, readServers } from '../servers/server-list.ts'
import { readStored } from '../state/read.ts'
import { withTimeout } from '../util/timeout.ts'
import { VERSION } from '../util/version.ts'
import { helpOf } from './help.ts'
import { colored, EXIT, isRefusal, reasonOf, tell, toDocument, UsageError, type Output } from './output.ts'
import { readArguments, type Command } from './parse.ts'
import { entryInWords, reportInWords, serverInWords } from './print.ts'
import { knownSites, readReports, visitorsGet, type SiteReport } from './read-sites.ts'
import { describeStore, loadStore } from './store-address.ts'

/** A store that does not answer by then has failed, ms. */
const ANSWER_TIMEOUT = 4000

/** @returns the exit code; never rejects */
export async function main (args: readonly string[], env: NodeJS.ProcessEnv, output: Output): Promise<number> {
  try {
    const asked = readArguments(args, env)
    if (asked === 'version') return print(output, `${VERSION}\n`)
    if ('help' in asked) return print(output, helpOf(asked.help))
    if ('text' in asked) return print(output, asked.text)
    // what only some calls need is loaded by those: the command starts faster
    const { openStore } = await import('../stores/open.ts')
    const { store } = await openStore(
      'module' in asked.store ? await loadStore(asked.store.module) : asked.store,
      asked.sites
    )
    try {
      return await perform(asked, store, output)
    } finally {
      await store.close()
    }
  } catch (error) {
    tell(output, reasonOf(error))
    if (error instanceof UsageError) output.err('fastify-maintenance --help shows how it is used\n')
    // such as a driver that is not installed, or a file that cannot be replaced
    const isOption = codeOf(error) === 'FST_ERR_MAINTENANCE_OPTION'
    return isRefusal(error) || isOption ? EXIT.usage : EXIT.failed
  }
}

function print ({ out }: Output, text: string): number {
  out(text)
  return EXIT.done
}

async function perform (command: Command, store: MaintenanceStore, output: Output): Promise<number> {
  const { name, run, write } = command
  if (run !== null) return (await import('./run.ts')).runCommand(command, run, store, output)
  if (name === 'history') return showHistory(command, store, output)
  if (name === 'servers') return showServers(command, store, output)
  if (write === null) return showStatus(command, store, output)
  const { cancel, writeAll } = await import('./write.ts')
  return (name === 'cancel' ? cancel : writeAll)(command, write, store, output)
}

async function showHistory (
  { sites: [site = ''], json }: Command,
  store: MaintenanceStore,
  output: Output
): Promise<number> {
  const { createHistory, HISTORY_MAX } = await import('../state/history.ts')
  const history = await withTimeout(createHistory(store, site).read(HISTORY_MAX), ANSWER_TIMEOUT)
  if (history.length === 0) await tellNothing(`site '${site}' has no history`, site, store, output)
  output.out(json ? toDocument([{ site, history }], 2) : history.map(entryInWords).join(''))
  return EXIT.done
}

async function showServers (
  { sites: [site = ''], json }: Command,
  store: MaintenanceStore,
  output: Output
): Promise<number> {
  const [servers, stored] = await withTimeout(
    Promise.all([readServers(store, site), readStored(store, site)]),
    ANSWER_TIMEOUT
  )
  if (servers.length === 0) await tellNothing(`no server uses site '${site}'`, site, store, output)
  const revision = stored.kind === 'record' ? stored.record.revision : 0
  const lines = servers.map(server => serverInWords(server, site, revision)).join('')
  output.out(json ? toDocument([{ site, servers }], 2) : colored(lines, output))
  return EXIT.done
}

/** A site that nobody knows is usually a slip: the sites that there are may be meant. */
async function tellNothing (
  what: string, site: string, store: MaintenanceStore, output: Output
): Promise<void> {
  // only a hint: the command has its answer without it
  const sites = readAllServers(store).then(servers => knownSites(store, servers))
  const known = await withTimeout(sites, ANSWER_TIMEOUT).catch((): string[] => [])
  if (known.length > 0 && !known.includes(site)) tell(output, `${what}; known there: ${known.join(', ')}`)
}

async function showStatus (
  { sites, watch, json, store: address }: Command,
  store: MaintenanceStore,
  output: Output
): Promise<number> {
  const place = describeStore(address)
  const read = (): Promise<SiteReport[]> => withTimeout(readReports(store, sites), ANSWER_TIMEOUT)
  const reports = watch
    ? await (await import('./watch.ts')).watchSites(store, read, json ? null : place, output)
    : await read()
  if (!watch) {
    output.out(
      json ? toDocument(reports, 2) : colored(reports.map(report => reportInWords(report, place)).join(''), output)
    )
  }
  const unknown = reports
    .filter(({ revision, servers, lost }) => revision === 0 && servers.length + lost.length === 0)
    .map(({ site }) => site)
  for (const site of unknown) {
    await tellNothing(`site '${site}' is neither stored nor served by a running server`, site, store, output)
  }
  const given = reports.map(visitorsGet)
  return given.includes('mixed') ? EXIT.unsafe : given.includes('closed') ? EXIT.closed : EXIT.done
}
