import type { FastifyRequest } from 'fastify'
import { routerPath, type RouterOptions } from './match/path.ts'
import type { RouteMatcher, Verdict } from './match/route.ts'
import type { Route } from './route-config.ts'

/** Do patterns cover the request? `ambiguous`: its target can be read in several ways. */
export type Reach = 'yes' | 'no' | 'ambiguous'

export interface RouteRule {
  reach (request: FastifyRequest, route: Route): Reach
}

/** How many verdicts a route remembers. Rules beyond that share a slot, and forget each other. */
const SLOTS = 64
let rules = 0

/**
 * Asks a matcher about requests. What it says of a route is remembered with the route.
 * @param coversUnknown does it cover a path that no route answers?
 */
export function compileRouteRule (
  matcher: RouteMatcher, router: RouterOptions, coversUnknown: (path: string) => boolean
): RouteRule {
  const slot = rules++ % SLOTS

  function verdictOn (route: Route, url: string): Verdict {
    const known = route.verdicts[slot]
    if (known?.matcher === matcher) return known.verdict
    const verdict = matcher.template(url)
    route.verdicts[slot] = { matcher, verdict }
    return verdict
  }

  return {
    reach (request, route) {
      if (route.url === undefined) return reachUnknown(routerPath(request.url, router))
      const verdict = verdictOn(route, route.url)
      return verdict === 'look' ? reachTarget(request.url) : verdict
    }
  }

  function reachTarget (target: string): Reach {
    if (matcher.target(target)) return 'yes'
    return routerPath(target, router) === null ? 'ambiguous' : 'no'
  }

  function reachUnknown (path: string | null): Reach {
    if (path === null) return 'ambiguous'
    return coversUnknown(path) ? 'yes' : 'no'
  }
}
