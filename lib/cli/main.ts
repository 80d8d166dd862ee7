import type { HistoryEntry, MaintenanceStore, ServerStatus, SiteState } from '../../types/index.ts'
import { timeOf } from '../state/time.ts'
import { toSafeJson } from '../util/escape.ts'
import { withTimeout } from '../util/timeout.ts'
import { VERSION } from '../util/version.ts'
import { helpOf } from './help.ts'
import { isCommand } from './options.ts'
import { EXIT, type Output } from './output.ts'
import { parseCall, readSites, readStoreAddress, readWait, UsageError, type Call } from './parse.ts'
import { entryInWords, inWords, reasonOf, report, serverInWords } from './print.ts'

export { EXIT, type Output }

/** A store that does not answer by then has failed, ms. */
const ANSWER_TIMEOUT = 4000

/** @returns the exit code; never rejects */
export async function main (args: readonly string[], env: NodeJS.ProcessEnv, output: Output): Promise<number> {
  try {
    const call = parseCall(args)
    if (call.values.version === true) return print(output, `${VERSION}\n`)
    if (call.values.help === true || call.name === 'help') return print(output, helpOf(subjectOf(call)))
    return await withStore(call, env, output)
  } catch (error) {
    const usage = error instanceof UsageError
    report(output, reasonOf(error))
    if (usage) output.err('fastify-maintenance --help shows how it is used\n')
    return usage ? EXIT.usage : EXIT.failed
  }
}

function print ({ out }: Output, text: string): number {
  out(text)
  return EXIT.done
}

const subjectOf = ({ name, words: [subject = ''] }: Call): string => name === 'help' ? subject : name

async function withStore (call: Call, env: NodeJS.ProcessEnv, output: Output): Promise<number> {
  const option = readStoreAddress(call.values, env)
  // what only some calls need is loaded by those: the command starts faster
  const { openStore } = await import('../stores/open.ts')
  const { store } = await openStore(option, call.words.filter(isSiteName))
  try {
    return await perform(call, store, output)
  } finally {
    await store.close()
  }
}

const isSiteName = (word: string): boolean => !isCommand(word)

function perform (call: Call, store: MaintenanceStore, output: Output): Promise<number> {
  switch (call.name) {
    case 'history': return list(call, output, readHistory(call, store), entryInWords)
    case 'servers': return list(call, output, readServers(call, store), server => serverInWords(server, oneSite(call), timeOf(store)))
    case 'status': return showStatus(call, store, output)
    default: return change(call, store, output)
  }
}

function oneSite ({ name, words }: Call): string {
  const [site = '', ...more] = readSites(words)
  if (more.length > 0) throw new UsageError(`'${name}' takes one site`)
  return site
}

async function readHistory (call: Call, store: MaintenanceStore): Promise<HistoryEntry[]> {
  const site = oneSite(call)
  const { createHistory, HISTORY_MAX } = await import('../state/history.ts')
  return createHistory(store, site).read(HISTORY_MAX)
}

async function readServers (call: Call, store: MaintenanceStore): Promise<ServerStatus[]> {
  const site = oneSite(call)
  const servers = await import('../servers/server-list.ts')
  return servers.readServers(store, site)
}

async function list<T extends HistoryEntry | ServerStatus> (
  call: Call, output: Output, reading: Promise<T[]>, words: (entry: T) => string
): Promise<number> {
  const entries = await withTimeout(reading, ANSWER_TIMEOUT)
  const text = call.values.json === true ? toJson([{ site: oneSite(call), [call.name]: entries }]) : entries.map(words).join('')
  return print(output, text)
}

async function showStatus ({ words, values }: Call, store: MaintenanceStore, output: Output): Promise<number> {
  const sites = readSites(words)
  const { readVisible, exitOf } = await import('./visible.ts')
  const read = () => withTimeout(Promise.all(sites.map(site => readVisible(store, site))), ANSWER_TIMEOUT)
  const json = values.json === true
  const states = values.watch === true ? await (await import('./watch.ts')).watchStates(store, read, json, output) : await read()
  if (values.watch !== true) output.out(json ? toJson(states) : states.map(inWords).join(''))
  return exitOf(states)
}

async function change (call: Call, store: MaintenanceStore, output: Output): Promise<number> {
  const timeout = readWait(call.values.wait)
  const { write } = await import('./write.ts')
  const states = await write(store, call)
  const json = call.values.json === true
  // people see the secret of a bypass whatever becomes of the wait
  if (!json) output.out(states.map(inWords).join(''))
  const problems = await checkServers(store, states, timeout, json, output)
  for (const problem of problems) report(output, problem)
  return problems.length > 0 ? EXIT.unsafe : EXIT.done
}

/** Waits for the servers if asked to. @returns why it is not safe, or which servers do the opposite */
async function checkServers (
  store: MaintenanceStore, states: readonly SiteState[], timeout: number | null, json: boolean, output: Output
): Promise<string[]> {
  const { waitForAll, findOpposites, together } = await import('./wait.ts')
  const { createProgress, endInWords } = await import('./progress.ts')
  const closes = states.some(({ active }) => active)
  const waited = timeout === null ? [] : await waitForAll(store, states, timeout, json ? () => {} : createProgress(closes, output))
  const opposites = (await Promise.all(states.map(state => findOpposites(store, state)))).flat()
  const problems = [...waited.flatMap(({ problem }) => problem ?? []), ...opposites]
  const safe = problems.length === 0
  const ended = waited.flatMap(({ progress }) => progress ?? [])
  if (json) output.out(toJson(states.map((state, i) => timeout === null ? state : { ...state, safe, servers: waited[i]?.progress?.servers ?? [] })))
  else if (ended.length > 0) output.out(endInWords(together(ended), closes, safe, output))
  if (timeout === null) await warnUnserved(store, states, output)
  return problems
}

/** A closed site that no server uses may be the wrong one. */
async function warnUnserved (store: MaintenanceStore, states: readonly SiteState[], output: Output): Promise<void> {
  const { readAllServers, siteOf } = await import('../servers/server-list.ts')
  const servers = await readAllServers(store).catch(() => null)
  if (servers === null) return
  const running = [...new Set(servers.flatMap(server => server.sites.map(({ site }) => site)))].sort()
  const there = running.length === 0 ? '' : ` (running: ${running.join(', ')})`
  for (const { site } of states) {
    if (!servers.some(server => siteOf(server, site) !== undefined)) report(output, `warning: no running server uses site '${site}'${there}`)
  }
}

const toJson = (sites: readonly unknown[]): string => `${toSafeJson({ v: 1, sites }, 2)}\n`
