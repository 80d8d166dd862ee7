import type { ServerStatus } from '../../types/index.ts'
import { bool, either, integer, isObject, isWhole, literal, text, type Rule, type Shape } from '../util/validate.ts'

/** A server whose last word is older than this is lost: it crashed, hangs, or cannot reach the store. ms */
export const LOST_AFTER = 15_000
/** A lost server is forgotten after this time, ms. */
export const FORGOTTEN_AFTER = 10 * 60_000
/**
 * What a server was running may go on for this long after it has stopped: a handler, or a statement in a database. ms
 */
export const SETTLES_WITHIN = 60_000
/** Three heartbeats may get lost, ms. */
export const HEARTBEAT_INTERVAL = 4000

/** What a server writes about itself. */
export interface ServerEntry extends ServerStatus {
  /** It stopped in order: nothing of it is running. */
  readonly left: boolean
  /** Its machine and PID namespace; `null`: unknown. */
  readonly space: string | null
  /** It closes itself after this time without contact, ms; `null`: it does not. */
  readonly fence: number | null
  /** When it noticed that the store had lost its entry; `null`: never. */
  readonly relistedAt: string | null
}

const count = integer(0, Number.MAX_SAFE_INTEGER)
const time: Rule = { expected: 'a time', test: value => typeof value === 'string' && !Number.isNaN(Date.parse(value)) }
const counts: Rule = {
  expected: 'counts by name',
  test: value => isObject(value) && Object.values(value).every(count.test)
}

const SITE: Shape = { site: text(64), revision: count, active: bool, pinned: bool, draining: counts }

const STATUS: Shape = {
  id: text(100),
  label: text(400),
  host: text(300),
  pid: count,
  version: text(100),
  sites: {
    expected: 'a list of sites',
    test: value => Array.isArray(value) && value.every(site => isWhole(SITE, pick(SITE, site)))
  },
  inFlight: count,
  streams: count,
  draining: counts,
  bypassPath: either(text(4096), literal(null)),
  startedAt: time,
  seenAt: time,
  lost: bool
}

/** What only servers ask each other. A later version may leave it out. */
const OURS: { readonly [name in Exclude<keyof ServerEntry, keyof ServerStatus>]: Rule } = {
  left: bool,
  space: text(200),
  fence: count,
  relistedAt: time
}

/** An entry has a few hundred characters, and some for each site and each route that is still running. */
const ENTRY_MAX = 1024 * 1024

/**
 * Keys of later versions are left out: their servers must be seen, too.
 * @returns `null` for what cannot be understood
 */
export function parseEntry (entry: string): ServerEntry | null {
  try {
    if (entry.length > ENTRY_MAX) return null
    const parsed: unknown = JSON.parse(entry)
    const status = pick(STATUS, parsed)
    return isWhole(STATUS, status) ? { ...status as unknown as ServerStatus, ...readOurs(parsed) } : null
  } catch {
    return null
  }
}

function readOurs (parsed: unknown): Omit<ServerEntry, keyof ServerStatus> {
  const { left, ...known } = Object.fromEntries(
    Object.entries(pick(OURS, parsed)).map(([name, value]) => [
      name,
      OURS[name as keyof typeof OURS].test(value) ? value : null
    ])
  ) as unknown as Omit<ServerEntry, keyof ServerStatus>
  return { left: left === true, ...known }
}

const pick = (shape: Shape, value: unknown): Record<string, unknown> =>
  Object.fromEntries(Object.keys(shape).map(name => [name, isObject(value) ? value[name] : undefined]))

/** How long it has said nothing, by the clock of the store, ms. */
export const silenceOf = ({ seenAt }: ServerStatus, now: number): number => Math.max(0, now - Date.parse(seenAt))

/** The entry as others are shown it. */
export function toStatus (
  { left, space, fence, relistedAt, ...status }: ServerEntry,
  lost: boolean
): ServerStatus {
  return { ...status, lost }
}

/** The last word of a server; others say it for one that is known to be dead. */
export const goodbyeOf = (server: ServerStatus | ServerEntry): string =>
  JSON.stringify({ ...server, inFlight: 0, streams: 0, draining: {}, left: true })

/** How long a goodbye is kept: a wait must not overlook it, ms. */
export const GOODBYE_TTL = 60_000

/** The state of one site on a server. */
export const siteOf = (server: ServerStatus, site: string): ServerStatus['sites'][number] | undefined =>
  server.sites.find(served => served.site === site)
