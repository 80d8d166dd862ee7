import type { Reason, RouteMaintenance } from '../types/index.ts'

/**
 * What the precedence asks of one window. A question is asked only when its row is reached: cheap ones come first.
 * @typeParam Request - whatever the questions look at
 * @typeParam Route - likewise
 * @typeParam Outcome - what follows from each reason
 */
export interface WindowQuestions<Request, Route, Outcome> {
  readonly readOnly: boolean
  /** Does the window close only other routes? */
  isOutside (request: Request, route: Route): boolean
  isIgnoredRoute (request: Request, route: Route): boolean
  isIgnoredIp (request: Request): boolean
  isBypassed (request: Request): boolean
  readonly outcomes: { readonly [reason in Reason]: Outcome }
}

export interface Questions<Request, Route, Outcome> {
  /** The active windows, the strictest first. */
  readonly windows: readonly WindowQuestions<Request, Route, Outcome>[]
  /** What follows from the rows that ask no window. */
  readonly outcomes: { readonly [reason in Reason]: Outcome }
  /** Is there an `ignore.request` to be asked? */
  readonly asksUser: boolean
  isPreflight (request: Request, route: Route): boolean
  reads (request: Request, route: Route): boolean
}

/** Of several windows that let a request through, the reason that says most about it counts. */
export interface Ranked { readonly rank: number }

/**
 * The one precedence: the first row that applies decides. A request passes only if every active window lets it pass.
 * @param userSays what `ignore.request` answered, once it was asked
 * @returns `null`: ask `ignore.request`, then decide again
 */
export function decide<
  Request,
  Route extends { readonly declared: RouteMaintenance | undefined },
  Outcome extends Ranked
> (gate: Questions<Request, Route, Outcome>, request: Request, route: Route, userSays?: boolean): Outcome | null {
  if (route.declared === 'off') return gate.outcomes['route-off']
  if (route.declared === 'on') return gate.outcomes['route-on']
  let passed = gate.outcomes.inactive
  for (const window of gate.windows) {
    const reason = askWindow(gate, window, request, route, userSays)
    if (reason === null) return null
    const outcome = window.outcomes[reason]
    if (reason === 'active') return outcome
    if (outcome.rank >= passed.rank) passed = outcome
  }
  return passed
}

/** Rows 3 to 10. */
function askWindow<Request, Route, Outcome> (
  gate: Questions<Request, Route, Outcome>,
  window: WindowQuestions<Request, Route, Outcome>,
  request: Request,
  route: Route,
  userSays?: boolean
): Reason | null {
  if (window.isOutside(request, route)) return 'inactive'
  if (gate.isPreflight(request, route)) return 'preflight'
  if (window.isIgnoredRoute(request, route)) return 'ignored-route'
  if (window.isIgnoredIp(request)) return 'ignored-ip'
  if (window.isBypassed(request)) return 'bypass'
  if (gate.asksUser && userSays === undefined) return null
  if (userSays === true) return 'ignored-request'
  if (window.readOnly && gate.reads(request, route)) return 'read'
  return 'active'
}

/** The two rows that block. */
export const isBlocking = (reason: Reason): boolean => reason === 'active' || reason === 'route-on'
