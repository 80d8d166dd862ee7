import type { DrainErrorDetails, ServerSite, ServerStatus } from '../../types/index.ts'
import { countsInWords, sumByName } from '../drain/activity.ts'
import type { Census } from './census.ts'
import { siteOf, toStatus } from './entry.ts'

/** What the servers of a site are to do. */
export interface Goal {
  readonly site: string
  readonly on: boolean
  /** Of the change. */
  readonly revision: number
}

/** How far the servers of a site are. */
export interface Progress {
  /** All that have been heard of lately. */
  readonly servers: readonly ServerStatus[]
  /** How many have been seen since the wait began. */
  readonly known: number
  /** How many have the new state. */
  readonly followed: number
  /** Those that don't, or still run something from before. */
  readonly unready: readonly ServerStatus[]
  /** Requests and work from before that are still running, on all servers. */
  readonly inFlight: number
  /** Pinned servers that do the opposite. */
  readonly pinned: readonly ServerStatus[]
  /** Servers that vanished without a goodbye. */
  readonly lost: readonly ServerStatus[]
  /** Lost servers that have closed themselves. */
  readonly fenced: readonly ServerStatus[]
  /** The store has lost its servers; they come back one by one. */
  readonly isIncomplete: boolean
  /** It cannot become safe. */
  readonly isHopeless: boolean
}

/** Only servers of the site are counted. */
const servedBy = (server: ServerStatus, site: string): ServerSite => siteOf(server, site) as ServerSite

export function measure ({ present, lost, fenced, known, isIncomplete, isSure }: Census, goal: Goal): Progress {
  const { site, on } = goal
  const isPinned = (server: ServerStatus): boolean => servedBy(server, site).pinned
  const following = present.filter(server => !isPinned(server))
  const gone = lost.map(server => toStatus(server, true))
  const pinned = [...present, ...gone].filter(server => isPinned(server) && servedBy(server, site).active !== on)
  return {
    servers: present,
    known,
    followed: present.length - present.filter(server => !hasFollowed(server, goal)).length,
    unready: following.filter(server => server.lost || !hasFollowed(server, goal) || (on && running(server, site) > 0)),
    inFlight: present.reduce((sum, server) => sum + running(server, site), 0),
    pinned,
    lost: gone,
    fenced,
    isIncomplete,
    isHopeless: pinned.length > 0 || (lost.length > 0 && isSure)
  }
}

function hasFollowed (server: ServerStatus, { site, on, revision }: Goal): boolean {
  const { active, pinned, revision: applied } = servedBy(server, site)
  return pinned ? active === on : applied >= revision && (!on || active)
}

const running = (server: ServerStatus, site: string): number =>
  Object.values(servedBy(server, site).draining).reduce((sum, count) => sum + count, 0)

export const isReady = ({ known, unready, lost, pinned, isIncomplete }: Progress): boolean =>
  known > 0 && unready.length === 0 && lost.length === 0 && pinned.length === 0 && !isIncomplete

export const NOT_READ = 'the list of servers could not be read'

/** What holds a wait up. */
export function reasonsOf (progress: Progress | null, { site, on }: Goal): string {
  if (progress === null) return NOT_READ
  const reasons = [
    ...progress.pinned.map(({ label }) => `${label} stays ${on ? 'open' : 'closed'}: its option 'pinned' decides`),
    ...progress.lost.map(
      server =>
        `${server.label} is lost, last seen at ${server.seenAt}${ran(server, site)}: it crashed, was killed, hangs, or cannot reach the store`
    ),
    ...progress.unready.map(server => whyUnready(server, site, on))
  ]
  if (progress.known === 0) reasons.push(`no running server uses site '${site}'`)
  if (progress.isIncomplete) reasons.push('the store has lost its list of servers a moment ago')
  return reasons.join('; ')
}

function whyUnready (server: ServerStatus, site: string, on: boolean): string {
  const { label, seenAt, lost } = server
  const { active, draining } = servedBy(server, site)
  const work = countsInWords(draining)
  if (lost) return `${fencedInWords(server, site)}, but what it ran may not have ended`
  const reason = !active && on ? 'is open' : work === '' ? 'has not seen the change' : `runs ${work}`
  return `${label} ${reason}, last seen at ${seenAt}`
}

export const fencedInWords = (server: ServerStatus, site: string): string =>
  `${server.label} is lost, last seen at ${server.seenAt}${ran(server, site)}; its fence has closed it`

/** What a server ran when it was last heard of. */
function ran (server: ServerStatus, site: string): string {
  const draining = countsInWords(servedBy(server, site).draining)
  const work = draining === '' && server.inFlight > 0 ? `${server.inFlight} requests` : draining
  return work === '' ? '' : `, when it ran ${work}`
}

/** The same for programs. */
export function detailsOf (progress: Progress | null, { site }: Goal): DrainErrorDetails {
  const { unready = [], lost = [], pinned = [], inFlight = 0 } = progress ?? {}
  const routes = sumByName(unready.flatMap(server => Object.entries(servedBy(server, site).draining)))
  return { inFlight, routes, servers: unready, lost, pinned }
}
