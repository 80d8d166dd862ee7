import type { Maintenance, MaintenanceStatus } from '../../types/index.ts'
import { ChangeError, messageOf, show } from '../errors.ts'
import { checkCancelling, checkOpening, checkSet, checkUpdate, fail } from '../state/change.ts'
import { isObject } from '../util/validate.ts'

/** A request for a change, as it came: nothing of it is checked. */
export interface Input {
  readonly site: unknown
  readonly action: unknown
  readonly window: unknown
  readonly force: unknown
  readonly change: Record<string, unknown>
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
  if (!isObject(body)) {
    throw new ChangeError('the body', show(body), 'an object with site, action, and the fields of a change')
  }
  const { site, action, window, force, ...change } = body
  return { site, action, window, force, change }
}

/** What each action checks, and how it is carried out. */
const ACTIONS: { readonly [action: string]: (site: Maintenance, input: Input) => Promise<MaintenanceStatus> } = {
  on (site, { change }) {
    checkSet(change)
    return site.set(true, change)
  },
  off (site, { change, force }) {
    const options = { ...change, force }
    checkOpening(options)
    return site.set(false, options as Parameters<Maintenance['set']>[1])
  },
  update (site, { change, window }) {
    checkUpdate(change)
    return site.update(change, { window: window as string | undefined })
  },
  cancel (site, { change, window }) {
    checkCancelling(change)
    return site.cancel(window as string | undefined, change)
  }
}

/** The requested site, or the only one. Unknown names are rejected by `maintenance.for()`. */
export function siteOf ({ sites }: Maintenance, { site }: Pick<Input, 'site'>): string {
  return (site ?? (sites.length === 1 ? sites[0] : undefined)) as string
}

/**
 * Carries out a change. It checks the fields itself, because `set()` accepts one more than this page: `wait`.
 * @param by takes precedence over the `by` of the change
 * @throws FST_ERR_MAINTENANCE_SITE, FST_ERR_MAINTENANCE_CHANGE, and the errors of the action
 */
export async function carryOut (
  maintenance: Maintenance,
  input: Input,
  by: string | undefined
): Promise<MaintenanceStatus> {
  const site = maintenance.for(siteOf(maintenance, input))
  const { action, window, force, change } = input
  const carry = typeof action === 'string' && Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined
  if (carry === undefined) throw fail('action', action, "'on', 'off', 'update' or 'cancel'")
  if (window !== undefined && action !== 'update' && action !== 'cancel') {
    throw fail('window', window, "no window with the action 'on' or 'off'")
  }
  if (window !== undefined && typeof window !== 'string') throw fail('window', window, 'the id of a window')
  if (force !== undefined && action !== 'off') throw fail('force', force, "no force except with the action 'off'")
  return carry(site, by === undefined ? input : { ...input, change: { ...change, by } })
}

/** All wrong fields of a change: an error names only the first. */
export function wrongFields ({ action, change }: Input): string[] {
  const { ignoreRoutes, ...rest } = change
  const routes = Array.isArray(ignoreRoutes) ? ignoreRoutes : []
  const parts: [string, object][] = [
    ...Object.entries(rest).map(([name, value]): [string, object] => [name, { [name]: value }]),
    ...routes.map((route, i): [string, object] => [`ignoreRoutes[${i}]`, { ignoreRoutes: [route] }])
  ]
  return parts.filter(([, part]) => isWrong(action, part)).map(([name]) => name)
}

function isWrong (action: unknown, part: object): boolean {
  try {
    if (action === 'update') checkUpdate({ retryAfter: null, ...part })
    else if (action === 'on') checkSet(part)
    return false
  } catch {
    return true
  }
}
