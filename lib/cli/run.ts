import { setTimeout as sleep } from 'node:timers/promises'
import type { MaintenanceStore, RunContext } from '../../types/index.ts'
import { isOutcomeUnknown } from '../errors.ts'
import { readAllServers } from '../servers/server-list.ts'
import { run } from '../state/run.ts'
import type { Log } from '../util/log.ts'
import { codeOfSignal, findExecutable, startChild, type Child } from './child.ts'
import { EXIT, reasonOf, tell, toLine, type Output } from './output.ts'
import type { Command, RunRequest, Wait } from './parse.ts'
import { linkInWords } from './print.ts'
import { liveServers } from './read-sites.ts'
import { openRunSite, type StoredSite } from './run-site.ts'
import { createProgress, waitFor } from './wait.ts'
import { checkBypass, checkSites, linkOf } from './write.ts'

/** How long the command tries to open the site again after the work, ms. */
const LEAVE_TIMEOUT = 30_000
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Nothing was run, because it is not safe. */
class UnsafeError extends Error {}

/** Nothing was run, because a signal ended the wait. */
class InterruptedError extends Error {
  readonly signal: NodeJS.Signals
  constructor (signal: NodeJS.Signals) {
    super(`interrupted by ${signal}, so nothing was run`)
    this.signal = signal
  }
}

/** So that the site stays closed after a failure, if that is asked for. */
class CommandError extends Error {}

/**
 * Closes the site, waits until it is safe, runs a command, and opens the site again.
 * @returns the exit code of the command; 128 + n if a signal ended it
 */
export async function runCommand (
  command: Command,
  { argv, change }: RunRequest,
  store: MaintenanceStore,
  output: Output
): Promise<number> {
  const [name = ''] = argv
  const executable = findExecutable(name)
  if (typeof executable === 'number') {
    tell(
      output,
      `run: ${name}: ${executable === EXIT.notFound ? 'command not found' : 'permission denied'}. Nothing was changed`
    )
    return executable
  }
  const servers = await readAllServers(store)
  await checkSites(command, store, servers)
  const { secret } = change.change
  if (typeof secret === 'string') checkBypass(command, servers)
  // what the command prints to stdout is its own
  const notes = { ...output, out: output.err }
  const site = openRunSite(store, command.sites[0] as string)
  const live = liveServers(servers, site.name)
  const links = typeof secret === 'string' ? linkInWords(linkOf(secret, live), live) : []
  try {
    return await closeAndRun(command, { argv, change }, site, links, store, notes)
  } finally {
    site.stop()
  }
}

async function closeAndRun (
  { wait }: Command,
  { argv, change }: RunRequest,
  site: StoredSite,
  links: readonly string[],
  store: MaintenanceStore,
  output: Output
): Promise<number> {
  const interrupted = new AbortController()
  let child: Child | null = null
  let code: number | null = null
  const stopListening = listen(signal =>
    child === null ? interrupted.abort(new InterruptedError(signal)) : child.pass(signal)
  )

  async function ready (signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => interrupted.abort(signal.reason))
    output.out(links.map(toLine).join(''))
    if (wait !== null) await waitUntilSafe(store, site, wait, interrupted.signal, output)
    interrupted.signal.throwIfAborted()
  }

  async function work ({ signal, track }: RunContext): Promise<void> {
    tell(output, `site '${site.name}' is closed, running ${argv.join(' ')}`)
    child = startChild(argv)
    signal.addEventListener('abort', () => {
      tell(output, `${reasonOf(signal.reason)}. SIGTERM is sent to the command`)
      child?.stop()
    })
    code = await track(child.ended, 'the command')
    if (code === 0) return
    tell(output, `the command failed with exit code ${code}`)
    throw new CommandError(`the command failed with exit code ${code}`)
  }

  try {
    await run(
      { site, work, track: startWork, bypass: null, ready, closing: new AbortController().signal, log: logTo(output) },
      change
    )
  } catch (error) {
    code ??= exitCodeOf(error, output)
    // the window may be there all the same
    if (code === null && !isOutcomeUnknown(error)) throw error
  } finally {
    stopListening()
  }
  return (await hasLeft(site)) ? tellState(site, code ?? EXIT.failed, output) : tellStuck(site, code, output)
}

async function waitUntilSafe (
  store: MaintenanceStore, { name, enteredAt }: StoredSite, wait: Wait, signal: AbortSignal, output: Output
): Promise<void> {
  const { problem } = await waitFor(store, { site: name, revision: enteredAt }, true, wait, {
    onProgress: createProgress(name, true, output),
    remark: text => tell(output, text),
    signal,
    otherwise: 'so nothing was run'
  })
  signal.throwIfAborted()
  if (problem !== null) throw new UnsafeError(problem)
}

/** For what ended the run before its command began. @returns `null` if the store or the state is the reason */
function exitCodeOf (error: unknown, output: Output): number | null {
  if (!(error instanceof InterruptedError || error instanceof UnsafeError)) return null
  tell(output, error.message)
  return error instanceof UnsafeError ? EXIT.unsafe : codeOfSignal(error.signal)
}

/** No server waits for what a command does: its own wait is over. */
const startWork = (async (work: Promise<unknown>) => work) as RunContext['track']

function listen (listener: (signal: NodeJS.Signals) => void): () => void {
  for (const signal of SIGNALS) process.on(signal, listener)
  return () => { for (const signal of SIGNALS) process.off(signal, listener) }
}

/** While the store is away, leaving is tried again. */
async function hasLeft (site: StoredSite): Promise<boolean> {
  const deadline = performance.now() + LEAVE_TIMEOUT
  while (!site.hasWritten && performance.now() < deadline) await sleep(100)
  return site.hasWritten
}

function tellState ({ name, active }: StoredSite, code: number, output: Output): number {
  tell(
    output,
    active
      ? `site '${name}' stays closed: 'fastify-maintenance status ${name}' shows by what`
      : `site '${name}' is open again`
  )
  return code
}

function tellStuck ({ name }: StoredSite, code: number | null, output: Output): number {
  tell(output, `site '${name}' could not be opened again and stays closed: fastify-maintenance off ${name} --force`)
  return code || EXIT.failed
}

/** What a run reports goes to stderr. */
function logTo (output: Output): Log {
  const log = (first: unknown, text = first): void => tell(output, String(text).replace(/^maintenance: /, ''))
  return { info: log, warn: log, error: log }
}
