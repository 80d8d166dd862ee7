import type { Reason, RouteMaintenance } from '../types/index.ts'

/**
 * What the precedence asks. Each question is asked only when its row is reached: cheap before dear.
 * @typeParam Request and
 * @typeParam Route whatever the questions need to look at; of the route, this module knows what it declares
 */
export interface Questions<Request, Route> {
  readonly active: boolean
  readonly readOnly: boolean
  /** Is there an `ignore.request` to be asked? */
  readonly asksUser: boolean
  isPreflight (request: Request, route: Route): boolean
  isIgnoredRoute (request: Request, route: Route): boolean
  isIgnoredIp (request: Request): boolean
  isBypassed (request: Request): boolean
  reads (request: Request, route: Route): boolean
}

/**
 * The one precedence: first match wins, and nothing below a row can change it.
 * @param userSays the answer of `ignore.request`, once it was asked
 * @returns `null`: ask `ignore.request`, then decide again
 */
export function decide<Request, Route extends { readonly declared: RouteMaintenance | undefined }> (
  gate: Questions<Request, Route>, request: Request, route: Route, userSays?: boolean
): Reason | null {
  if (route.declared === 'off') return 'route-off'
  if (route.declared === 'on') return 'route-on'
  if (!gate.active) return 'inactive'
  if (gate.isPreflight(request, route)) return 'preflight'
  if (gate.isIgnoredRoute(request, route)) return 'ignored-route'
  if (gate.isIgnoredIp(request)) return 'ignored-ip'
  if (gate.isBypassed(request)) return 'bypass'
  if (gate.asksUser && userSays === undefined) return null
  if (userSays === true) return 'ignored-request'
  if (gate.readOnly && gate.reads(request, route)) return 'read'
  return 'active'
}

/** The two rows that refuse. */
export const isBlocking = (reason: Reason): boolean => reason === 'active' || reason === 'route-on'
