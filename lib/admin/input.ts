import type { Maintenance, MaintenanceChange, MaintenanceStatus } from '../../types/index.ts'
import { isObject } from '../util/validate.ts'
import { ChangeError, messageOf, show } from '../errors.ts'
import { checkChange } from '../state/change.ts'
import { toTime } from '../state/time.ts'

/** What is asked for, as it came; nothing of it is checked. */
export interface Input {
  readonly site: unknown
  readonly action: unknown
  /** What `action` says, or `on` without one. */
  readonly on: unknown
  readonly change: Record<string, unknown>
}

/** What stands in the fields of a form. */
export interface Fields {
  readonly message: string
  readonly mode: string
  readonly startsAt: string
  readonly endsAt: string
  readonly retryAfter: string
  readonly bypass: string
  readonly routes: readonly { readonly pattern: string, readonly description: string }[]
}

/** @throws FST_ERR_MAINTENANCE_CHANGE */
export function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ChangeError('the body', show(text), `JSON (${messageOf(error)})`)
  }
}

/** @throws FST_ERR_MAINTENANCE_CHANGE */
export function readJson (body: unknown): Input {
  if (!isObject(body)) throw new ChangeError('the body', show(body), 'an object with site, on, and the fields of a change')
  const { site, action, on, ...change } = body
  return { site, action, on: readOn(action, on), change }
}

const ACTIONS: readonly unknown[] = ['off', 'on']

const readOn = (action: unknown, on: unknown): unknown => ACTIONS.includes(action) ? action === 'on' : on

/** Text becomes what JSON would have: an empty field is unset, a time without a zone is in UTC, as the form says. */
const READERS: { readonly [name: string]: (value: string) => unknown } = {
  message: readText,
  startsAt: readTime,
  endsAt: readTime,
  retryAfter: readNumber,
  expectedRevision: readNumber,
  bypass: readBoolean
}

/** No part of a change. */
const ASIDE = ['site', 'action', 'on', 'token', 'ignoreRoutes', 'ignoreRoutesDescription']

export function readForm (form: URLSearchParams): Input {
  const texts = [...form].filter(([name, value]) => value.trim() !== '' && !ASIDE.includes(name))
  const routes = routesOf(form).map(({ pattern, description }) => ({ pattern, description: description || null }))
  const action = form.get('action') || undefined
  return {
    site: form.get('site') || undefined,
    action,
    on: readOn(action, readBoolean(form.get('on') ?? undefined)),
    change: {
      ...Object.fromEntries(texts.map(([name, value]) => [name, Object.hasOwn(READERS, name) ? READERS[name]?.(value) : value])),
      ...(routes.length === 0 ? {} : { ignoreRoutes: routes })
    }
  }
}

/** The n-th description belongs to the n-th path; a row without both is none. */
function routesOf (form: URLSearchParams): { pattern: string, description: string }[] {
  const descriptions = form.getAll('ignoreRoutesDescription')
  return form.getAll('ignoreRoutes')
    .map((pattern, i) => ({ pattern: pattern.trim(), description: (descriptions[i] ?? '').trim() }))
    .filter(({ pattern, description }) => pattern !== '' || description !== '')
}

/** Browsers send line breaks as CR LF. */
function readText (value: string): string {
  return value.replaceAll('\r\n', '\n')
}

function readTime (text: string): string {
  const value = text.trim()
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?$/.test(value) ? `${value}Z` : value
}

/** As an input of type `datetime-local` takes it: without a zone, which the label names. */
export function shownTime (time: string | null): string {
  return time === null ? '' : time.slice(0, 19).replace(/:00$/, '')
}

function readNumber (value: string): unknown {
  return /^\s*\d{1,16}\s*$/.test(value) ? Number(value) : value
}

function readBoolean (value: string | undefined): unknown {
  return value === 'true' ? true : value === 'false' ? false : value
}

/** What was typed, to be shown again as it was. */
export function typedIn (form: URLSearchParams): Fields {
  const get = (name: string): string => form.get(name) ?? ''
  const time = (name: string): string => shownTime(toTime(readTime(get(name)))) || get(name)
  return { message: readText(get('message')), mode: get('mode'), startsAt: time('startsAt'), endsAt: time('endsAt'), retryAfter: get('retryAfter'), bypass: get('bypass'), routes: routesOf(form) }
}

/** The fields that are wrong, all of them: `set` tells the first one. */
export function wrongFields ({ on, change }: Input): string[] {
  const { ignoreRoutes = [], ...rest } = change
  const parts: [string, object][] = [
    ...Object.entries(rest).map(([name, value]): [string, object] => [name, { [name]: value }]),
    ...(ignoreRoutes as unknown[]).map((route, i): [string, object] => [`ignoreRoutes[${i}]`, { ignoreRoutes: [route] }])
  ]
  return parts.filter(([, part]) => isWrong(on !== false, part)).map(([name]) => name)
}

function isWrong (on: boolean, part: object): boolean {
  try {
    checkChange(on, part, 0)
    return false
  } catch {
    return true
  }
}

/** The site that is meant: where there is but one, it need not be named. What is no name is found unknown later. */
export function siteOf ({ sites }: Maintenance, { site }: Pick<Input, 'site'>): string {
  return (site ?? (sites.length === 1 ? sites[0] : undefined)) as string
}

/**
 * @param by outranks what the change says
 * @throws FST_ERR_MAINTENANCE_SITE, and whatever `set` throws
 */
export async function carryOut (maintenance: Maintenance, { action, on, change, ...input }: Input, by: string | undefined): Promise<MaintenanceStatus> {
  const target = maintenance.for(siteOf(maintenance, input))
  if (action !== undefined && !ACTIONS.includes(action)) throw Object.assign(new ChangeError('action', show(action), "'on' or 'off'"), { field: 'action' })
  // `set` knows one name more (`wait`), and the store's clock
  checkChange(on, change, 0)
  return target.set(on as boolean, { ...change as MaintenanceChange, ...(by === undefined ? {} : { by }) })
}
