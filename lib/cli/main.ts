import type { MaintenanceStore } from '../../types/index.ts'
import { codeOf } from '../errors.ts'
import { withTimeout } from '../util/timeout.ts'
import { VERSION } from '../util/version.ts'
import { helpOf } from './help.ts'
import { colored, EXIT, isRefusal, reasonOf, tell, toDocument, UsageError, type Output } from './output.ts'
import { readArguments, type Command } from './parse.ts'
import { entryInWords, reportInWords, serverInWords } from './print.ts'
import { readReports, visitorsGet, type SiteReport } from './read-sites.ts'
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
  { out }: Output
): Promise<number> {
  const { createHistory, HISTORY_MAX } = await import('../state/history.ts')
  const history = await withTimeout(createHistory(store, site).read(HISTORY_MAX), ANSWER_TIMEOUT)
  out(json ? toDocument([{ site, history }], 2) : history.map(entryInWords).join(''))
  return EXIT.done
}

async function showServers (
  { sites: [site = ''], json }: Command,
  store: MaintenanceStore,
  { out }: Output
): Promise<number> {
  const { readServers } = await import('../servers/server-list.ts')
  const servers = await withTimeout(readServers(store, site), ANSWER_TIMEOUT)
  out(json ? toDocument([{ site, servers }], 2) : servers.map(server => serverInWords(server, site)).join(''))
  return EXIT.done
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
  const given = reports.map(visitorsGet)
  return given.includes('mixed') ? EXIT.unsafe : given.includes('closed') ? EXIT.closed : EXIT.done
}
