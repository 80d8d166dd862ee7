import type { Bypass, HistoryEntry, Message, ServerStatus, SiteState, WindowStatus } from '../../types/index.ts'
import { countsInWords } from '../drain/activity.ts'
import { messageOf } from '../errors.ts'
import { siteOf } from '../servers/server-list.ts'
import { escapeControls } from '../util/escape.ts'
import type { Output } from './output.ts'

type Shown = SiteState & { readonly bypass?: Bypass, readonly differing?: readonly string[] }

/** For people: one line for each site, and more if there is more to say. */
export function inWords (state: Shown): string {
  const { site, by, message, windows, bypass, differing = [] } = state
  const active = windows.filter(window => window.active)
  const lines = [
    `${site}: ${condition(state)}${by === null ? '' : `, by ${by}`}`,
    ...(message === null ? [] : [`  message: ${messageInWords(message)}`]),
    ...listInWords('only', active.flatMap(({ onlyRoutes }) => onlyRoutes)),
    ...listInWords('let through as well', active.flatMap(({ ignoreRoutes, ignoreIps }) => [...ignoreRoutes.map(({ pattern }) => pattern), ...ignoreIps])),
    ...active.slice(1).map(window => `  also ${windowInWords(window)}`),
    ...windows.filter(window => !window.active).map(window => `  planned: ${windowInWords(window)}`),
    ...(bypass === undefined ? [] : [`  testers enter at ${bypass.path} (shown once)`]),
    ...differing.map(text => `  but ${text}`)
  ]
  return lines.map(line => `${escapeControls(line)}\n`).join('')
}

const listInWords = (what: string, list: readonly string[]): string[] => list.length === 0 ? [] : [`  ${what}: ${list.join(', ')}`]

function condition ({ active, mode, closedSince, endsAt, changedAt, revision }: SiteState): string {
  if (active) return `closed (${mode}) since ${closedSince}${endsAt === null ? '' : ` until ${endsAt}`}`
  return revision === 0 ? 'open (no maintenance recorded)' : `open, last changed at ${changedAt}`
}

function windowInWords ({ id, kind, mode, startsAt, endsAt, message, host, pid }: WindowStatus): string {
  const from = startsAt === null ? '' : ` from ${startsAt}`
  const until = endsAt === null ? '' : ` until ${endsAt}`
  const where = kind === 'run' ? ` on ${host} (process ${pid})` : ''
  return `${kind} ${id}${where}: closed (${mode})${from}${until}${message === null ? '' : `: ${messageInWords(message)}`}`
}

const messageInWords = (message: Message): string =>
  typeof message === 'string' ? message : Object.entries(message).map(([language, text]) => `${language}: ${text}`).join(' | ')

const KINDS: { readonly [kind in HistoryEntry['kind']]: string } = {
  closed: 'closed', opened: 'opened', changed: 'changed', planned: 'announced', cancelled: 'cancelled', run: 'run started'
}

/** A change on one line. */
export function entryInWords ({ at, kind, ended, mode, message, startsAt, endsAt, by }: HistoryEntry): string {
  const what = `${kind === 'run' && ended ? 'run ended' : KINDS[kind] ?? kind}${mode === null || kind === 'opened' ? '' : ` (${mode})`}`
  const window = `${startsAt === null ? '' : ` from ${startsAt}`}${endsAt === null ? '' : ` until ${endsAt}`}`
  const text = message === null ? '' : `: ${messageInWords(message)}`
  return `${escapeControls(`${at}  ${what}${window}${by === null ? '' : `, by ${by}`}${text}`)}\n`
}

/** A heartbeat should have come since, ms. */
const SILENT_AFTER = 7000

/** A server on one line. */
export function serverInWords (server: ServerStatus, site: string, now: number): string {
  const { label, inFlight, streams, seenAt } = server
  const { active = false, pinned = false, revision = 0, draining = {} } = siteOf(server, site) ?? {}
  const age = Math.max(0, Math.round((now - Date.parse(seenAt)) / 1000))
  const before = active && inFlight > 0 ? ` (from before: ${countsInWords(draining) || 'none'})` : ''
  const parts = [
    `${active ? 'closed' : 'open'}${pinned ? ' (pinned)' : ''}, revision ${revision}`,
    `${count(inFlight, 'request')} and ${count(streams, 'stream')} running${before}`,
    now - Date.parse(seenAt) > SILENT_AFTER ? `silent for ${age} s: it died, or cannot reach the store` : `seen ${age} s ago`
  ]
  return `${escapeControls(`${label}: ${parts.join(', ')}`)}\n`
}

export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`

/** What went wrong, without the name of the plugin. */
export const reasonOf = (error: unknown): string => messageOf(error).replace(/^maintenance: /, '')

/** Writes to stderr. The message may quote what is stored. */
export function report ({ err }: Output, message: string): void {
  err(`fastify-maintenance: ${escapeControls(message)}\n`)
}
