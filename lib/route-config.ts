import type { FastifyContextConfig, FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import type { RouteMaintenance } from '../types/index.ts'
import { RouteError, show } from './errors.ts'
import type { RouterOptions } from './match/path.ts'
import type { RouteMatcher, Verdict } from './match/route.ts'

/** What the gate needs to know of a route, remembered for as long as the route lives. */
export interface Route {
  readonly declared: RouteMaintenance | undefined
  /** The route's template; `undefined` for an unknown URL, also where a not-found handler has a config. */
  readonly url: string | undefined
  /** Answers OPTIONS and nothing else, as the preflight route of `@fastify/cors` does. */
  readonly optionsOnly: boolean
  /** The matcher's verdict on the template, by the index of the gate that asked. */
  readonly verdicts: (undefined | { readonly matcher: RouteMatcher, readonly verdict: Verdict })[]
}

export interface Routes {
  /** Must the hook look at the route even while every site is open? */
  readonly mayBeOn: boolean
  /** How many routes of the application say `'off'`. */
  readonly off: number
  of (request: FastifyRequest): Route
}

const OWN_PAGE = Symbol('fastify-maintenance.own-page')

/** The `config` of the plugin's own pages. */
export const OWN_PAGE_CONFIG = { maintenance: 'off', [OWN_PAGE]: true } as const

const DECLARATIONS: readonly unknown[] = ['off', 'on', 'read', 'write'] satisfies RouteMaintenance[]

/**
 * Validates `config.maintenance` of the routes to come, and remembers what routes declare.
 * @throws FST_ERR_MAINTENANCE_ROUTE from the declaration of a route with an unknown value
 */
export function watchRoutes (fastify: FastifyInstance): Routes {
  // routes that stand already cannot be asked: any of them may say 'on'
  let mayBeOn = fastify.printRoutes() !== '(empty tree)'
  let off = 0
  const routes = new WeakMap<FastifyContextConfig, Route>()

  fastify.addHook('onRoute', function checkRoute ({ config, method, url }: RouteOptions) {
    const declared = declarationOf(config)
    if (declared === undefined) return
    if (!DECLARATIONS.includes(declared)) throw new RouteError(String(method), url, show(declared))
    if (declared === 'on') mayBeOn = true
    // of a GET and its HEAD, one counts; our own pages do not
    if (declared === 'off' && method !== 'HEAD' && !isOwnPage(config)) off++
  })

  return {
    get mayBeOn () { return mayBeOn },
    get off () { return off },
    of (request) {
      // the getter builds an object on every read: once here, and no more
      const { config } = request.routeOptions
      return routes.get(config) ?? remember(config)
    }
  }

  function remember (config: FastifyContextConfig & Partial<RouteOptions>): Route {
    const declared = declarationOf(config)
    const route = {
      declared: DECLARATIONS.includes(declared) ? declared as RouteMaintenance : undefined,
      url: config.url,
      optionsOnly: [config.method].flat().every(method => method === 'OPTIONS'),
      verdicts: []
    }
    routes.set(config, route)
    return route
  }
}

const isOwnPage = (config: FastifyContextConfig | undefined): boolean => config !== undefined && OWN_PAGE in config

/** Only the route's own word counts, not what someone put on `Object.prototype`. */
function declarationOf (config: FastifyContextConfig | undefined): unknown {
  return config !== undefined && Object.hasOwn(config, 'maintenance') ? config.maintenance : undefined
}

/** Fastify takes its router options in two places, and fills both up with defaults. */
export function routerOptionsOf ({ initialConfig }: FastifyInstance): RouterOptions {
  const places = [initialConfig, initialConfig.routerOptions ?? {}] as Partial<RouterOptions>[]
  return {
    ignoreTrailingSlash: places.some(place => place.ignoreTrailingSlash === true),
    ignoreDuplicateSlashes: places.some(place => place.ignoreDuplicateSlashes === true),
    // it has no default in the second place, so that one wins, as it does in Fastify
    caseSensitive: (places[1]?.caseSensitive ?? places[0]?.caseSensitive) !== false,
    useSemicolonDelimiter: places.some(place => place.useSemicolonDelimiter === true)
  }
}
