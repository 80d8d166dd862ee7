import type { FastifyRequest } from 'fastify'
import type { Decision, Mode, Reason, Upcoming } from '../types/index.ts'
import type { Answer } from './answer/answer.ts'
import { makeMarks, type Marks } from './answer/mark-private.ts'
import { shownMode } from './answer/texts.ts'
import { hasPass, type Guesses } from './bypass/request.ts'
import type { Pass } from './bypass/secret.ts'
import { isBlocking, type Questions } from './decision.ts'
import { routerPath, type RouterOptions } from './match/path.ts'
import type { RouteMatcher, Verdict } from './match/route.ts'
import type { BypassSettings } from './options.ts'
import type { Route } from './route-config.ts'
import { asksForUpgrade, headerOf } from './util/header.ts'

/** A site's state and the options, compiled: what the hook asks. A new one for every new state. */
export interface Gate extends Questions<FastifyRequest, Route> {
  readonly answer: Answer
  /** Made beforehand: a request allocates none. */
  readonly outcomes: { readonly [reason in Reason]: Outcome }
  readonly upcoming: Upcoming | null
  readonly pass: Pass | null
  /** By which windows and cookies end, ms. */
  readonly clock: () => number
  /** Those who would be refused wait for a while instead. */
  readonly holds: boolean
}

/** A decision, and what follows from it. */
export interface Outcome {
  readonly decision: Decision
  /** Let through although the site is closed. */
  readonly counted: boolean
  /** Let in only because the site, or reading, was open: waited for before it is safe to migrate. */
  readonly waitedFor: boolean
  /**
   * Sees the inside of a closed site, where others get the 503: nobody may keep that for the public. More headers of such an
   * answer; `null`: it is for everybody.
   */
  readonly seen: Marks | null
}

export interface GateParts {
  /** Its place among the gates of this server. */
  readonly index: number
  readonly site: string | null
  readonly active: boolean
  readonly mode: Mode
  readonly upcoming: Upcoming | null
  readonly routes: RouteMatcher
  isIgnoredIp (request: FastifyRequest): boolean
  readonly asksUser: boolean
  /** The option `bypass`, and its path with the prefix of where the plugin is registered; `null`: there is none. */
  readonly bypass: { readonly settings: BypassSettings, readonly path: string, readonly guesses: Guesses } | null
  /** The secret of this window; `null`: it has none. */
  readonly pass: Pass | null
  readonly clock: () => number
  readonly router: RouterOptions
  /** Paths that are let through even where no route answers them. */
  readonly unrouted: ReadonlySet<string>
  readonly answer: Answer
}

const REASONS: readonly Reason[] = [
  'route-off', 'route-on', 'inactive', 'preflight', 'ignored-route', 'ignored-ip', 'bypass', 'ignored-request', 'read', 'active'
]

/** They see the inside of a closed site, and should know that the public sees something else. */
const SEEN: readonly Reason[] = ['ignored-ip', 'bypass', 'ignored-request']

const SAFE_METHODS = ['GET', 'HEAD', 'OPTIONS']

export function compileGate ({ index, site, active, mode, upcoming, routes, isIgnoredIp, asksUser, bypass, pass, clock, router, unrouted, answer }: GateParts): Gate {
  const outcomes = Object.fromEntries(REASONS.map(reason => [reason, {
    decision: Object.freeze({ blocked: isBlocking(reason), reason, site, active, mode: active ? mode : null, upcoming }),
    counted: active && !isBlocking(reason) && reason !== 'route-off' && reason !== 'read',
    waitedFor: reason === 'inactive' || reason === 'read',
    seen: SEEN.includes(reason) ? makeMarks(shownMode(mode), reason) : null
  }])) as Gate['outcomes']

  function isPreflight ({ raw }: FastifyRequest, route: Route): boolean {
    return route.optionsOnly && headerOf(raw, 'origin') !== undefined && headerOf(raw, 'access-control-request-method') !== undefined
  }

  function isIgnoredRoute (request: FastifyRequest, route: Route): boolean {
    if (route.url === undefined) return unrouted.has(routerPath(request.url, router) ?? '')
    const seen = route.verdicts[index]
    const verdict = seen?.matcher === routes ? seen.verdict : remember(route, route.url)
    return verdict === 'yes' || (verdict === 'look' && routes.target(request.url))
  }

  function remember (route: Route, url: string): Verdict {
    const verdict = routes.template(url)
    route.verdicts[index] = { matcher: routes, verdict }
    return verdict
  }

  function isBypassed (request: FastifyRequest): boolean {
    return pass !== null && bypass !== null && hasPass(request, pass, bypass.settings, bypass.guesses, clock)
  }

  // an upgrade begins with a GET, but what is said on the connection afterwards may write
  function reads ({ method, raw }: FastifyRequest, { declared }: Route): boolean {
    return declared === 'read' || (declared !== 'write' && SAFE_METHODS.includes(method) && !asksForUpgrade(raw))
  }

  return { active, readOnly: mode === 'read-only', holds: mode === 'hold', asksUser, isPreflight, isIgnoredRoute, isIgnoredIp, isBypassed, reads, answer, outcomes, upcoming, pass, clock }
}
