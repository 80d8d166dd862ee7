import type { HistoryEntry, ServerStatus, WindowStatus } from '../../types/index.ts'
import { countsInWords } from '../drain/activity.ts'
import { defaultText } from '../state/message.ts'
import { toLine } from './output.ts'
import { servedBy, visitorsGet, type SiteReport } from './read-sites.ts'
import { timeInWords } from './time.ts'

/** Who can enter by a link, and where. */
export interface TesterLink {
  readonly secret: string
  readonly path: string
  /** Does a running server serve that path? */
  readonly verified: boolean
}

/** For people: a line that says it all, and more where there is more to say. */
export function reportInWords (report: SiteReport, place: string): string {
  return toText([
    `${report.site}: ${headline(report, place)}`,
    ...windowsOf(report),
    ...serversOf(report),
    `  stored in: ${place}`
  ])
}

/** What was written just now: the servers follow in a moment. */
export function changeInWords (report: ChangeReport, place: string): string {
  const { site, servers, bypass, replaced } = report
  const testers = bypass === undefined ? [] : linkInWords(bypass, servers)
  const before =
    replaced === undefined
      ? []
      : replacedInWords(
        replaced,
        report.windows.find(({ id }) => id === replaced.id)
      )
  return toText([
    `${site}: ${condition(report, place)}`,
    ...windowsOf(report),
    ...before,
    `  stored in: ${place}`,
    ...testers
  ])
}

/** What a change led to. */
type ChangeReport = SiteReport & {
  readonly bypass?: TesterLink
  /** The closure that `on` has replaced. */
  readonly replaced?: WindowStatus
}

const FIELDS = ['mode', 'message', 'endsAt', 'retryAfter', 'ignoreRoutes', 'ignoreIps', 'onlyRoutes'] as const

/** What `on` sets to its default because it was not named: people may have meant `change` or `extend`. */
function replacedInWords (before: WindowStatus, after: WindowStatus | undefined): string[] {
  const reset = FIELDS.filter(field => after !== undefined && !isDefault(before[field]) && isDefault(after[field]))
  const fields = reset.map(field => field === 'mode' ? `mode ${before.mode} → full` : field)
  const by = before.by === null ? '' : `, by ${before.by}`
  return [
    `  replaced: the closure since ${timeInWords(before.startsAt ?? before.at)}${by}${fields.length === 0 ? '' : ` (reset: ${fields.join(', ')})`}`
  ]
}

const isDefault = (value: unknown): boolean =>
  value === null || value === 'full' || (Array.isArray(value) && value.length === 0)

const toText = (lines: readonly string[]): string => lines.map(toLine).join('')

/** The headline describes the only active window; each of several has a line of its own. */
function windowsOf ({ windows }: SiteReport): string[] {
  const isAlone = windows.filter(({ active }) => active).length === 1
  return windows.flatMap(window => window.active && isAlone ? detailsOf(window) : [windowInWords(window)])
}

function detailsOf ({
  id,
  message,
  onlyRoutes,
  ignoreRoutes,
  ignoreIps,
  bypass,
  kind,
  host,
  pid
}: WindowStatus): string[] {
  const through = [
    ...ignoreRoutes.map(({ pattern }) => pattern),
    ...ignoreIps,
    ...(bypass ? ['testers with the link'] : [])
  ]
  return [
    ...(kind === 'run' ? [`  by a run: ${id} on ${host} (process ${pid})`] : []),
    ...(message === null ? [] : [`  message: ${defaultText(message)}`]),
    ...(onlyRoutes.length === 0 ? [] : [`  only: ${onlyRoutes.join(', ')}`]),
    ...(through.length === 0 ? [] : [`  let through: ${through.join(', ')}`])
  ]
}

export function linkInWords ({ secret, path, verified }: TesterLink, servers: readonly ServerStatus[]): string[] {
  if (!verified) return [`  testers enter at ${path} (shown once; not verified, no server is running)`]
  const paths = new Set(servers.map(({ bypassPath }) => bypassPath))
  if (paths.size === 1) return [`  testers enter at ${path} (shown once)`]
  return servers.map(({ label, bypassPath }) => `  testers enter at ${bypassPath}#${secret} on ${label} (shown once)`)
}

function headline (report: SiteReport, place: string): string {
  const { active, servers } = report
  const given = visitorsGet(report)
  if (given === (active ? 'closed' : 'open')) return condition(report, place)
  const closed = servers.filter(server => servedBy(server, report.site).active).length
  const where =
    given === 'mixed' ? `closed on ${closed} of ${servers.length} servers` : `${given} on every running server`
  return `${where}, but stored as ${condition(report, place)}`
}

function condition ({ active, mode, closedSince, changedAt, endsAt, by, revision }: SiteReport, place: string): string {
  const who = by === null ? '' : `, last changed by ${by}`
  if (active) {
    return `closed (${mode}) since ${timeInWords(closedSince)}${endsAt === null ? '' : `, until ${timeInWords(endsAt)}`}${who}`
  }
  return revision === 0
    ? `open (nothing stored at ${place})`
    : `open, last changed ${timeInWords(changedAt)}${by === null ? '' : ` by ${by}`}`
}

function windowInWords ({
  id,
  kind,
  active,
  mode,
  startsAt,
  at,
  endsAt,
  message,
  by,
  host,
  pid,
  bypass,
  ...lists
}: WindowStatus): string {
  const parts = [
    `${active ? 'closed' : 'will close'} (${mode}) ${active ? 'since' : 'at'} ${timeInWords(startsAt ?? at)}`,
    endsAt === null ? '' : `until ${timeInWords(endsAt)}`,
    kind === 'run' ? `by a run on ${host} (process ${pid})` : by === null ? '' : `by ${by}`,
    lists.onlyRoutes.length === 0 ? '' : `only ${lists.onlyRoutes.join(' ')}`,
    lists.ignoreRoutes.length === 0 ? '' : `lets through ${lists.ignoreRoutes.map(({ pattern }) => pattern).join(' ')}`,
    lists.ignoreIps.length === 0 ? '' : `lets through ${lists.ignoreIps.join(' ')}`,
    bypass ? 'lets testers with the link through' : '',
    message === null ? '' : `message: ${defaultText(message)}`
  ]
  return `  ${kind} ${id}: ${parts.filter(part => part !== '').join(', ')}`
}

function serversOf (report: SiteReport): string[] {
  return [
    ...runningServers(report),
    ...report.lost.map(({ label, seenAt }) => `    ${label} is lost, last seen ${timeInWords(seenAt)}`)
  ]
}

function runningServers ({ site, active, revision, servers }: SiteReport): string[] {
  if (servers.length === 0) return ['  servers: none is running']
  const closed = servers.filter(server => servedBy(server, site).active).length
  const odd = servers.filter(server => servedBy(server, site).active !== active)
  return [
    `  servers: ${closed} of ${servers.length} closed`,
    ...odd.map(server => `    ${server.label} is ${whyOdd(server, site, revision)}`)
  ]
}

function whyOdd (server: ServerStatus, site: string, revision: number): string {
  const served = servedBy(server, site)
  const is = served.active ? 'closed' : 'open'
  if (served.pinned) return `pinned ${is} by its option 'pinned'`
  return served.revision < revision
    ? `${is}: it has not followed, last seen ${timeInWords(server.seenAt)}`
    : `${is} by its own schedule`
}

/** A change on one line. */
export function entryInWords ({ at, kind, ended, mode, message, startsAt, endsAt, by }: HistoryEntry): string {
  const window = [
    startsAt === null ? '' : ` from ${timeInWords(startsAt)}`,
    endsAt === null ? '' : ` until ${timeInWords(endsAt)}`
  ].join('')
  const what = kind === 'run' ? `run ${ended ? 'ended' : 'began'}` : kind
  return toLine(
    `${timeInWords(at)}  ${what}${mode === null ? '' : ` (${mode})`}${window}${by === null ? '' : `, by ${by}`}${message === null ? '' : `: ${defaultText(message)}`}`
  )
}

/** A server on one line. @param stored the revision that servers should have reached */
export function serverInWords (server: ServerStatus, site: string, stored: number): string {
  const { label, inFlight, streams, seenAt, lost, version } = server
  const { active, pinned, revision, draining } = servedBy(server, site)
  const before = countsInWords(draining)
  const oddity = pinned ? ' (pinned)' : revision < stored ? ' (has not followed)' : ''
  const parts = [
    `${active ? 'closed' : 'open'}${oddity}, revision ${revision}`,
    `${workInWords(inFlight, streams)} running${before === '' ? '' : ` (from before: ${before})`}`,
    `${lost ? 'lost, last ' : ''}seen ${timeInWords(seenAt)}`,
    `version ${version}`
  ]
  return toLine(`${label}: ${parts.join(', ')}`)
}

function workInWords (requests: number, streams: number): string {
  const work = [[requests, 'request'] as const, [streams, 'stream'] as const].filter(([number]) => number > 0)
  return work.map(([number, noun]) => count(number, noun)).join(' and ') || 'nothing'
}

export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`
