import type { FastifyRequest } from 'fastify'
import type { Mode } from '../types/index.ts'
import type { Answer } from './answer/answer.ts'
import { createPassCheck, type BypassRules } from './bypass/request.ts'
import { createPass, type Pass } from './state/secret.ts'
import type { ClientCheck } from './match/client.ts'
import { compileIps, isIpRule } from './match/ip.ts'
import type { RouterOptions } from './match/path.ts'
import { compileRoutes, isPattern } from './match/route.ts'
import { compileRouteRule, type RouteRule } from './route-rule.ts'
import type { Route } from './route-config.ts'
import { modeOf, type StoredWindow } from './state/record.ts'

/** Which requests a window lets through, compiled. The rules of an unchanged window are compiled once. */
export interface WindowRules {
  readonly id: string
  readonly mode: Mode
  readonly readOnly: boolean
  readonly answer: Answer
  /** Its bypass secret; `null`: it has none. */
  readonly pass: Pass | null
  isOutside (request: FastifyRequest, route: Route): boolean
  isIgnoredRoute (request: FastifyRequest, route: Route): boolean
  isIgnoredIp (request: FastifyRequest): boolean
  /** @param passes of all active windows: a secret of another one is not a wrong guess */
  hasPass (request: FastifyRequest, passes: readonly Pass[]): boolean
}

/** What the options say for all windows. */
export interface CommonRules {
  /** `ignore.routes`, and the paths that are let through even if no route answers them. */
  readonly routes: RouteRule
  readonly isIgnoredIp: (request: FastifyRequest) => boolean
  readonly checkClient: ClientCheck
  readonly router: RouterOptions
  /** `null`: the option `bypass` is not set. */
  readonly bypass: BypassRules | null
}

/** @param clock by which cookies expire, ms */
export function compileWindow (
  window: StoredWindow,
  common: CommonRules,
  answer: Answer,
  clock: () => number
): WindowRules {
  const { routes, router, bypass } = common
  const own = compilePatterns(window.ignoreRoutes.map(route => route.pattern).filter(isPattern), router, false)
  // a pattern that this version cannot read might close anything
  const only = compilePatterns(window.onlyRoutes.every(isPattern) ? window.onlyRoutes : [], router, true)
  const isIgnoredIp = common.checkClient(compileIps(window.ignoreIps.filter(isIpRule)))
  const pass = bypass === null || window.bypass === null ? null : createPass(bypass.settings, window.id, window.bypass)
  const mode = modeOf(window)
  return {
    id: window.id,
    mode,
    readOnly: mode === 'read-only',
    answer,
    pass,
    isOutside: (request, route) => only !== null && only.reach(request, route) === 'no',
    isIgnoredRoute: (request, route) =>
      routes.reach(request, route) === 'yes' || (own !== null && own.reach(request, route) === 'yes'),
    isIgnoredIp: request => common.isIgnoredIp(request) || isIgnoredIp(request),
    hasPass: pass === null || bypass === null ? () => false : createPassCheck(pass, bypass, clock)
  }
}

/**
 * @param unknown do they also cover paths that no route answers?
 * @returns `null` if there are none
 */
function compilePatterns (patterns: readonly string[], router: RouterOptions, unknown: boolean): RouteRule | null {
  if (patterns.length === 0) return null
  const matcher = compileRoutes(patterns, router)
  return compileRouteRule(matcher, router, path => unknown && matcher.target(path))
}
