import type { HistoryEntry, Maintenance, MaintenanceStatus, ServerStatus } from '../../types/index.ts'
import { isAhead } from '../state/window.ts'
import { withTimeout } from '../util/timeout.ts'
import { shownTime, type Fields } from './input.ts'

/** How a site stands, in one word. */
export type Look = 'open' | 'closed' | 'read-only' | 'hold' | 'announced'

/** Why a form was not carried out. */
export interface Failure {
  readonly status: number
  /** Of the error. */
  readonly text: string
  readonly kind: 'conflict' | 'wrongFields' | 'formExpired' | 'other'
  readonly site: unknown
  /** The names of fields. */
  readonly wrong: readonly string[]
  readonly typed: Fields
}

/** What the page shows of one site. */
export interface SiteView {
  readonly name: string
  readonly status: MaintenanceStatus
  readonly look: Look
  readonly pinned: boolean
  /** A key of the texts; `null`: nothing is the matter. */
  readonly warning: 'unreadable' | 'mirror' | 'fallback' | 'storeProblem' | null
  /** To be sent with a change; `''` where what is stored cannot be understood: then it may be written over. */
  readonly expectedRevision: number | ''
  readonly fields: Fields
  readonly failure: Failure | null
  /** `null`: the store did not tell. */
  readonly servers: readonly ServerStatus[] | null
  readonly history: readonly HistoryEntry[] | null
  /** The link that was just made, with its secret. */
  readonly link: string | null
}

/** A store that hangs does not hang the page, ms. */
const PATIENCE = 2500
const HISTORY_SHOWN = 10

export async function viewOf (maintenance: Maintenance, name: string, failure: Failure | null, link: string | null): Promise<SiteView> {
  const site = maintenance.for(name)
  const [servers, history] = await Promise.all([known(site.servers()), known(site.history({ limit: HISTORY_SHOWN }))])
  const status = site.status()
  const look = lookOf(status)
  return {
    name,
    status,
    look,
    pinned: status.source === 'pinned',
    warning: warningOf(status),
    expectedRevision: status.source === 'unreadable' ? '' : status.revision,
    fields: failure?.typed ?? fieldsOf(status, look),
    failure,
    servers,
    history,
    link
  }
}

async function known<T> (asked: Promise<T>): Promise<T | null> {
  return withTimeout(asked, PATIENCE).catch(() => null)
}

function lookOf (status: MaintenanceStatus): Look {
  if (status.active) return status.mode === 'full' ? 'closed' : status.mode
  return isAhead(status, Date.now()) ? 'announced' : 'open'
}

const SOURCES_TO_TELL: readonly string[] = ['unreadable', 'mirror', 'fallback']

function warningOf ({ source, store: { error } }: MaintenanceStatus): SiteView['warning'] {
  if (SOURCES_TO_TELL.includes(source)) return source as SiteView['warning']
  return error === null ? null : 'storeProblem'
}

/** What the present state fills into the form; nothing of a window that is over. */
function fieldsOf (status: MaintenanceStatus, look: Look): Fields {
  if (look === 'open') return { message: '', mode: 'full', startsAt: '', endsAt: '', retryAfter: '', bypass: '', routes: [] }
  const { message, mode, startsAt, endsAt, retryAfter, ignoreRoutes } = status
  return {
    message: message ?? '',
    mode,
    startsAt: shownTime(startsAt),
    endsAt: shownTime(endsAt),
    retryAfter: retryAfter === null ? '' : String(retryAfter),
    bypass: '',
    routes: ignoreRoutes.map(({ pattern, description }) => ({ pattern, description: description ?? '' }))
  }
}
