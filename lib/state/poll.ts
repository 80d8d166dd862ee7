import type { Log } from '../util/log.ts'
import { messageOf } from '../errors.ts'
import type { OpenedStore } from '../stores/open.ts'
import { withTimeout } from '../util/timeout.ts'

/** A site as far as its store matters. */
export interface Follower {
  readonly name: string
  start (): Promise<void>
  refresh (): Promise<void>
  close (): void
}

/** Polls of many servers spread out. */
const JITTER = 0.1
/** The application does not wait longer for a store to close, ms. */
const CLOSE_TIMEOUT = 900
/** The time for the goodbye, ms: without it, this server is taken for lost. */
const LEAVE_TIMEOUT = 2000
/** A goodbye waits for handlers that are still running, ms. */
const LAST_WORK_TIMEOUT = 10_000

/**
 * Keeps all sites of this server up to date: a read at boot, at every hint, and every `pollInterval`.
 * @returns when the first read is done, or has failed: the way to stop
 */
export async function followStore (
  { store, pollInterval }: OpenedStore,
  sites: readonly Follower[],
  log: Log
): Promise<() => void> {
  let timer: NodeJS.Timeout | undefined

  async function refreshAll (): Promise<void> {
    await Promise.all(sites.map(site => site.refresh()))
  }

  /** A hint that names its site costs one read; one that does not, one for each. */
  function onHint (name?: unknown): void {
    for (const site of sites) if (typeof name !== 'string' || site.name === name) site.refresh()
  }

  function poll (interval: number): void {
    timer = setTimeout(
      async () => {
        await refreshAll()
        if (timer !== undefined) poll(interval)
      },
      interval * (1 + JITTER * (2 * Math.random() - 1))
    ).unref()
  }

  // what was written before the watch began is found by the read behind it
  Promise.resolve()
    .then(() => store.watch(onHint))
    .then(refreshAll)
    .catch(error =>
      log.warn({ err: error }, `maintenance: the store cannot be watched, it is only polled: ${messageOf(error)}`)
    )
  await Promise.all(sites.map(site => site.start()))
  if (pollInterval !== null) poll(pollInterval)

  return function stop () {
    clearTimeout(timer)
    timer = undefined
    for (const site of sites) site.close()
  }
}

/**
 * This server says goodbye, and its store is closed. The application waits for a bounded time; what takes longer goes
 * on behind it.
 */
export async function closeStore (
  { store }: OpenedStore,
  servers: { readonly isRunning: boolean; stop(): Promise<void> },
  log: Log
): Promise<void> {
  const timeout = servers.isRunning ? LAST_WORK_TIMEOUT : LEAVE_TIMEOUT
  const closing = withTimeout(servers.stop(), timeout)
    .catch(() => {})
    .then(() => store.close())
    .catch(error => log.warn({ err: error }, `maintenance: the store did not close: ${messageOf(error)}`))
  await Promise.race([closing, new Promise(resolve => setTimeout(resolve, CLOSE_TIMEOUT).unref())])
}
