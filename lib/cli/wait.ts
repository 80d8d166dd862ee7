import type { DrainErrorDetails, MaintenanceStore, ServerStatus, SiteState } from '../../types/index.ts'
import { goodbyeOf, GOODBYE_TTL, siteOf } from '../servers/entry.ts'
import type { Progress } from '../servers/progress.ts'
import { createEntryReader } from '../servers/server-list.ts'
import { waitForServers } from '../servers/wait.ts'
import { timeOf } from '../state/time.ts'
import { reasonOf, type Output } from './output.ts'
import type { Wait } from './parse.ts'
import { count } from './print.ts'
import { timesInWords } from './time.ts'

/** How a wait for the servers of one site ended. */
export interface Waited {
  readonly safe: boolean
  /** All servers that were heard of, when it ended. */
  readonly servers: readonly ServerStatus[]
  /** Of these, those that were not ready. */
  readonly unready: readonly ServerStatus[]
  readonly lost: readonly ServerStatus[]
  readonly pinned: readonly ServerStatus[]
  /** Why it is not safe; `null`: it is. */
  readonly problem: string | null
}

export interface Waiting {
  readonly onProgress: (progress: Progress) => void
  /** Says what the operator should know, and what ends no wait. */
  readonly remark: (text: string) => void
  readonly signal?: AbortSignal
  /** What has become of the change if it is not safe. */
  readonly otherwise?: string
}

/** @throws never */
export async function waitFor (
  store: MaintenanceStore, { site, revision }: Pick<SiteState, 'site' | 'revision'>, closes: boolean,
  { timeout, assumeDead }: Wait, { onProgress, remark, signal, otherwise = 'but the change stands' }: Waiting
): Promise<Waited> {
  const readEntries = createEntryReader(store)
  let last: readonly ServerStatus[] = []
  try {
    const { servers, fenced } = await waitForServers({
      site,
      list: async () => (await readEntries()).filter(server => siteOf(server, site) !== undefined),
      now: () => timeOf(store),
      on: closes,
      revision,
      timeout,
      signal,
      assumeDead,
      strikeOff: async server => { await store.heartbeat?.(server.id, goodbyeOf(server), GOODBYE_TTL) },
      otherwise,
      onProgress (progress) {
        last = progress.servers
        onProgress(progress)
      },
      say () {},
      remark: text => remark(timesInWords(text))
    })
    return { safe: true, servers, unready: [], lost: fenced, pinned: [], problem: null }
  } catch (error) {
    // a signal that ended the wait carries nothing
    const { servers: unready = [], lost = [], pinned = [] } = error as Partial<DrainErrorDetails>
    const advice = lost.length === 0 ? '' : '. If you have made sure that lost servers are dead, add --assume-dead'
    const problem = `site '${site}': ${timesInWords(reasonOf(error))}${advice}`
    return { safe: false, servers: last, unready, lost, pinned, problem }
  }
}

/** How far the servers are: one line that is written over on a terminal, else a line for each change. */
export function createProgress (
  site: string,
  closes: boolean,
  { out, terminal = false }: Output
): (progress: Progress) => void {
  let last = ''
  return ({ servers, followed, inFlight, lost }) => {
    const missing = lost.length === 0 ? '' : `, ${lost.length} lost`
    const text = `${site}: ${followed} of ${count(servers.length, 'server')} ${closes ? `closed, ${count(inFlight, 'request')} running` : 'open'}${missing}`
    if (text === last) return
    out(terminal ? `\r\u001b[K${text}` : `${text}\n`)
    last = text
  }
}
