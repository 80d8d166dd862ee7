import type { MaintenanceStore, SiteState } from '../../types/index.ts'
import { readServers } from '../servers/server-list.ts'
import { waitForServers, type Progress } from '../servers/wait.ts'
import type { Output } from './output.ts'
import { reasonOf } from './output.ts'
import { count } from './print.ts'

/** The result of a wait for the servers of one site; `null`: it is safe to go on. */
export type Problem = string | null

/** @throws never */
export async function waitFor (
  store: MaintenanceStore, { site, revision }: Pick<SiteState, 'site' | 'revision'>, closes: boolean, timeout: number,
  onProgress: (progress: Progress) => void, signal?: AbortSignal
): Promise<Problem> {
  try {
    const progress = await waitForServers({ site, list: () => readServers(store, site), on: closes, revision, timeout, onProgress, signal })
    return whyUnsafe(site, progress)
  } catch (error) {
    return `site '${site}': ${reasonOf(error)}`
  }
}

function whyUnsafe (site: string, { known, pinned }: Progress): Problem {
  if (known === 0) return `site '${site}': not safe: no running server uses it, so nobody can tell`
  if (pinned.length === 0) return null
  return `site '${site}': not safe: ${pinned.map(({ label }) => `${label} does the opposite: its option 'pinned' decides`).join('; ')}`
}

/** How far the servers are: one line that is written over on a terminal, else a line for each change. */
export function createProgress (site: string, closes: boolean, { out, terminal = false }: Output): (progress: Progress) => void {
  let last = ''
  return ({ servers, followed, inFlight }) => {
    const text = `${site}: ${followed} of ${count(servers.length, 'server')} ${closes ? `closed, ${count(inFlight, 'request')} running` : 'open'}`
    if (text === last) return
    out(terminal ? `\r\u001b[K${text}` : `${text}\n`)
    last = text
  }
}
