import type { Bypass, HistoryEntry, ServerStatus, SiteState } from '../../types/index.ts'
import { routesInWords } from '../drain/drain.ts'
import { messageOf } from '../errors.ts'
import { isAhead } from '../state/window.ts'
import { nameOf, type Progress } from '../servers/wait.ts'
import { escapeControls } from '../util/escape.ts'
import type { Output } from './main.ts'

export const HELP = `fastify-maintenance: close and open the sites of Fastify servers

  fastify-maintenance on [site…]      close sites, or change how they are closed
  fastify-maintenance off [site…]     open sites
  fastify-maintenance status [site…]  show sites
  fastify-maintenance history [site]  show who switched what, newest first
  fastify-maintenance servers [site]  show the live servers, and what still runs on them

No site named: default.

on:
  --message TEXT          shown to visitors
  --mode MODE             full: refuse everything (default); read-only: let reads through; hold: keep requests
                          waiting for a moment
  --starts-at TIME        ISO 8601 with a zone, such as 2026-12-01T03:00:00Z; default: at once
  --ends-at TIME          the site opens automatically
  --for DURATION          the same, counted from the start: 90s, 30m, 1h30m, 2d
  --retry-after SECONDS   for clients, while no end is known
  --ignore-route PATTERN  let through as well: /health, or /admin/* for all below; may be repeated
  --bypass                make a secret for testers, and show it once
on and off:
  --by NAME               who changes it
  --wait[=30s]            return when every live server has followed and, for on, no request from before is running
status:
  --watch                 show every change, until Ctrl-C
all:
  --store ADDRESS         where the state lives: redis://…, rediss://… or file:PATH; or the variable MAINTENANCE_STORE
  --prefix PREFIX         of the keys in Redis; default fastify-maintenance:
  --json                  print JSON: an object, or an array where several sites are named
  --help, --version

Exit codes: 0 done; for status: open · 4 status: in maintenance · 1 the store failed or cannot be
understood · 2 wrong use · 3 --wait ran out (the change stands)
`

/** For people: one line for each site, and more where there is more to tell. */
export function inWords (state: SiteState & { bypass?: Bypass }): string {
  const lines = [`${state.site}: ${[condition(state), state.by === null ? '' : `by ${state.by}`].filter(part => part !== '').join(', ')}`]
  if (state.message !== null) lines.push(`  message: ${state.message}`)
  if (state.ignoreRoutes.length > 0) lines.push(`  let through as well: ${state.ignoreRoutes.map(route => route.pattern).join(', ')}`)
  if (state.bypass !== undefined) lines.push(`  testers enter at ${state.bypass.path} (shown once)`)
  return lines.map(line => `${escapeControls(line)}\n`).join('')
}

/** A transition on one line. */
export function entryInWords ({ at, on, mode, message, startsAt, endsAt, by }: HistoryEntry): string {
  const window = [startsAt === null ? '' : ` from ${startsAt}`, endsAt === null ? '' : ` until ${endsAt}`].join('')
  return `${escapeControls(`${at}  ${on ? `on (${mode})${window}` : 'off'}${by === null ? '' : `, by ${by}`}${message === null ? '' : `: ${message}`}`)}\n`
}

/** One that should have been heard of since, ms. */
const SILENT_AFTER = 7000

/** A server on one line. */
export function serverInWords (server: ServerStatus, now: number): string {
  const { revision, active, pinned, inFlight, streams, holding, seenAt } = server
  const age = Math.max(0, Math.round((now - Date.parse(seenAt)) / 1000))
  const parts = [
    `${active ? 'closed' : 'open'}${pinned ? ' (pinned)' : ''}, revision ${revision}`,
    `${count(inFlight, 'request')} and ${count(streams, 'stream')} running${active && inFlight > 0 ? ` (from before: ${routesInWords(holding) || 'none'})` : ''}`,
    now - Date.parse(seenAt) > SILENT_AFTER ? `silent for ${age} s: it died, or cannot reach the store` : `seen ${age} s ago`
  ]
  return `${escapeControls(`${nameOf(server)}: ${parts.join(', ')}`)}\n`
}

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`

const BAR = 20

/** How far the servers are: one line that is written over on a terminal, else a line for each change. */
export function createProgress (on: boolean, { out, terminal = false }: Output): (progress: Progress) => void {
  let last = ''
  return progress => {
    const { servers, unready } = progress
    const text = progressInWords(progress, on)
    // the last line says more
    if (text === last || unready.length === 0) return
    last = text
    const filled = Math.round(BAR * (servers.length - unready.length) / servers.length)
    out(terminal ? `\r\u001b[K[${'#'.repeat(filled)}${'.'.repeat(BAR - filled)}] ${text}` : `${text}\n`)
  }
}

const progressInWords = ({ servers, followed, inFlight }: Progress, on: boolean): string =>
  `${followed} of ${count(servers.length, 'server')} ${on ? `closed, ${count(inFlight, 'request')} running` : 'open'}`

/** The end of a wait, and what whoever goes on should know. */
export function endInWords (progress: Progress, on: boolean, { terminal = false }: Output): string {
  const notes = [
    ...progress.pinned.map(server => `${nameOf(server)} is pinned ${server.active ? 'closed' : 'open'} by its option 'enabled', and was not waited for`),
    ...progress.gone.map(server => `${nameOf(server)} was last seen at ${server.seenAt}: it stopped, died, or cannot reach the store`)
  ]
  return [`${terminal ? '\r\u001b[K' : ''}${progressInWords(progress, on)}${on && progress.known > 0 ? ': safe to proceed' : ''}`, ...notes.map(note => `  ${escapeControls(note)}`)].map(line => `${line}\n`).join('')
}

/** What went wrong; the name of the plugin stands before it already. */
export const reasonOf = (error: unknown): string => messageOf(error).replace(/^maintenance: /, '')

/** What goes wrong, on stderr; it may quote what is stored. */
export function tell ({ err }: Output, message: string): void {
  err(`fastify-maintenance: ${escapeControls(message)}\n`)
}

function condition (state: SiteState): string {
  const { on, active, mode, since, startsAt, endsAt, revision } = state
  const until = endsAt === null ? '' : ` until ${endsAt}`
  if (active) return `closed (${mode}) since ${startsAt ?? since}${until}`
  if (isAhead(state, Date.now())) return `open, will be closed (${mode}) from ${startsAt}${until}`
  if (on) return `open since ${endsAt}, when the maintenance ended`
  return revision === 0 ? 'open (no maintenance recorded)' : `open since ${since}`
}
