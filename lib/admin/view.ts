import type {
  HistoryEntry,
  Maintenance,
  MaintenanceStatus,
  Message,
  RunningRuns,
  ServerStatus,
  WindowStatus
} from '../../types/index.ts'
import { withTimeout } from '../util/timeout.ts'
import { changedFields, EMPTY_FIELDS, fieldsOf, type Fields } from './form.ts'

/** The state of a site in one word. */
export type Look = 'open' | 'closed' | 'read-only' | 'hold' | 'announced'

/** Why a form was rejected. */
export interface Failure {
  readonly status: number
  /** The message of the error. */
  readonly text: string
  readonly kind: 'conflict' | 'running' | 'wrongFields' | 'formExpired' | 'other'
  readonly site: unknown
  /** The runs that keep the site closed. */
  readonly runs: RunningRuns['runs']
  /** The form: `close`, `announce` or the id of a window; `null`: nothing was typed. */
  readonly form: string | null
  /** The names of the wrong fields. */
  readonly wrong: readonly string[]
  readonly typed: Partial<Fields>
  readonly shown: Partial<Fields> | null
}

/** A form for a window. */
export interface FormView {
  /** Unique among the forms of a site. */
  readonly key: string
  readonly action: 'on' | 'update'
  /** The id of the window to change. */
  readonly window: string | null
  /** Does it ask for a start? */
  readonly hasStart: boolean
  readonly hasBypass: boolean
  readonly fields: Fields
  /** What the fields contain unless somebody types. */
  readonly shown: Fields
  readonly failure: Failure | null
}

export interface WindowView extends Omit<WindowStatus, 'message'> {
  /** For the attribute `id`. */
  readonly key: string
  readonly text: string
  /** `null`: it cannot be changed. */
  readonly form: FormView | null
  readonly canExtend: boolean
}

/** What the page shows of one site. */
export interface SiteView {
  readonly name: string
  readonly status: MaintenanceStatus
  readonly text: string
  readonly look: Look
  readonly pinned: boolean
  /** A key of the texts; `null`: there is no problem. */
  readonly warning: 'unreadable' | 'mirror' | 'unknownState' | 'storeProblem' | null
  /** Sent with a change; `''` if the stored state is unreadable and may be overwritten. */
  readonly expectedRevision: number | ''
  readonly windows: readonly WindowView[]
  /** The forms for new windows. */
  readonly forms: readonly FormView[]
  readonly failure: Failure | null
  /** `null`: the store did not answer. */
  readonly servers: readonly ServerStatus[] | null
  readonly history: readonly (Omit<HistoryEntry, 'message'> & { readonly text: string })[] | null
  /** The link that was just made, with its secret. */
  readonly link: string | null
}

/** A store that hangs must not hang the page, ms. */
const STORE_TIMEOUT = 2500
const HISTORY_SHOWN = 10

export async function viewOf (
  maintenance: Maintenance,
  name: string,
  failure: Failure | null,
  link: string | null
): Promise<SiteView> {
  const site = maintenance.for(name)
  const [servers, history] = await Promise.all([orNull(site.servers()), orNull(site.history({ limit: HISTORY_SHOWN }))])
  const status = site.status()
  const target = failure === null ? null : formOf(failure, status)
  return {
    name,
    status,
    text: textOf(status.message),
    look: lookOf(status),
    pinned: status.source === 'pinned',
    warning: warningOf(status),
    expectedRevision: status.source === 'unreadable' ? '' : status.revision,
    windows: status.windows.map(window => viewOfWindow(window, target === window.id ? failure : null)),
    forms: newForms(status).map(form => (target === form.key ? withFailure(form, failure as Failure) : form)),
    failure,
    servers,
    history: history?.map(({ message, ...entry }) => ({ ...entry, text: textOf(message) })) ?? null,
    link
  }
}

async function orNull<T> (answer: Promise<T>): Promise<T | null> {
  return withTimeout(answer, STORE_TIMEOUT).catch(() => null)
}

const isNow = ({ kind, active }: WindowStatus): boolean => kind === 'now' && active

function lookOf ({ active, mode, windows }: MaintenanceStatus): Look {
  if (active) return mode === 'read-only' || mode === 'hold' ? mode : 'closed'
  return windows.some(({ kind }) => kind === 'planned') ? 'announced' : 'open'
}

function warningOf ({ source, store: { error } }: MaintenanceStatus): SiteView['warning'] {
  if (source === 'unreadable' || source === 'mirror') return source
  if (source === 'unknown') return 'unknownState'
  return error === null ? null : 'storeProblem'
}

/** A message as one text. */
function textOf (message: Message | null): string {
  if (message === null || typeof message === 'string') return message ?? ''
  return Object.entries(message).map(([language, text]) => `${language}: ${text}`).join('\n')
}

function viewOfWindow (window: WindowStatus, failure: Failure | null): WindowView {
  const { message, ...rest } = window
  const isScheduled = window.kind === 'scheduled'
  return {
    ...rest,
    key: window.id.replace(/[^\w-]/g, '_'),
    text: textOf(message),
    form: isScheduled ? null : formOfWindow(window, failure),
    canExtend: !isScheduled || window.active
  }
}

function formOfWindow (window: WindowStatus, failure: Failure | null): FormView {
  const shown = fieldsOf(window)
  const form: FormView = {
    key: window.id.replace(/[^\w-]/g, '_'),
    action: 'update',
    window: window.id,
    hasStart: !window.active,
    hasBypass: window.bypass,
    fields: shown,
    shown,
    failure: null
  }
  return failure === null ? form : withFailure(form, failure)
}

/** Nobody can close a site twice, but every site can have another planned window. */
function newForms ({ windows }: MaintenanceStatus): FormView[] {
  const form = {
    action: 'on',
    window: null,
    hasBypass: false,
    fields: EMPTY_FIELDS,
    shown: EMPTY_FIELDS,
    failure: null
  } as const
  const announce: FormView = { ...form, key: 'announce', hasStart: true }
  return windows.some(isNow) ? [announce] : [{ ...form, key: 'close', hasStart: false }, announce]
}

/** The form that shows what was typed: its own, or the one that has taken its place. */
function formOf ({ form, typed }: Failure, { windows }: MaintenanceStatus): string | null {
  if (form === null || form === 'announce' || windows.some(({ id, kind }) => id === form && kind !== 'scheduled')) {
    return form
  }
  if (typed.startsAt !== undefined) return 'announce'
  return windows.find(isNow)?.id ?? 'close'
}

/**
 * What was typed, over what is there now. Only fields that were changed count, unless the window that they were for is
 * gone.
 */
function withFailure (form: FormView, failure: Failure): FormView {
  const isGone = form.action === 'on' && failure.form !== form.key
  const typed = isGone ? failure.typed : changedFields(failure.typed, failure.shown)
  return { ...form, fields: { ...form.fields, ...typed }, failure }
}
