import type { FastifyContextConfig, FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import type { RouteMaintenance } from '../types/index.ts'
import { RouteError, show } from './errors.ts'
import type { RouterOptions } from './match/path.ts'
import type { RouteMatcher, Verdict } from './match/route.ts'
import { createConfigReader } from './util/config-of.ts'

/** What the gate needs to know of a route, remembered for as long as the route lives. */
export interface Route {
  readonly declared: RouteMaintenance | undefined
  /** The route's template; `undefined` for an unknown URL, even if its not-found handler has a config. */
  readonly url: string | undefined
  /** Answers OPTIONS and nothing else, as the preflight route of `@fastify/cors` does. */
  readonly optionsOnly: boolean
  /** The matcher's verdict on the template, by the index of the gate that asked. */
  readonly verdicts: (undefined | { readonly matcher: RouteMatcher, readonly verdict: Verdict })[]
}

export interface RouteConfigs {
  /** Must the hook look at the route even while every site is open? */
  readonly mayBeOn: boolean
  /** How many routes of the application say `'off'`. */
  readonly off: number
  of (request: FastifyRequest): Route
  /**
   * To be called when all routes are known: looks again at what they declare, as `onRoute` hooks that ran after ours
   * left it.
   * @throws FST_ERR_MAINTENANCE_ROUTE if a value is unknown
   */
  check (): void
}

/** A route as it was declared: of its options, what matters here. */
type Declared = Pick<RouteOptions, 'config' | 'method' | 'url'>

/** How many routes say it. */
interface Summary { readonly on: number, readonly off: number }

const OWN_PAGE = Symbol('fastify-maintenance.own-page')

/** The `config` of the plugin's own pages. */
export const OWN_PAGE_CONFIG = { maintenance: 'off', [OWN_PAGE]: true } as const

const DECLARATIONS: readonly unknown[] = ['off', 'on', 'read', 'write'] satisfies RouteMaintenance[]

/**
 * Validates `config.maintenance` of all routes, those from before the plugin too, and remembers what they declare.
 * @throws FST_ERR_MAINTENANCE_ROUTE from the declaration of a route with an unknown value
 */
export function watchRoutes (fastify: FastifyInstance): RouteConfigs {
  const earlier = earlierRoutes(fastify)
  // the objects themselves: an `onRoute` hook that runs after ours may give a route another config
  const declared = earlier ?? []
  const routes = new WeakMap<FastifyContextConfig, Route>()
  const configOf = createConfigReader()
  let final: Summary | undefined

  fastify.addHook('onRoute', function checkRoute (route: RouteOptions) {
    validate(route)
    declared.push(route)
  })

  const summary = (): Summary => final ?? summarise(declared)

  return {
    get mayBeOn () { return earlier === null || summary().on > 0 },
    get off () { return summary().off },
    check () {
      declared.forEach(validate)
      final = summarise(declared)
      declared.length = 0
    },
    of (request) {
      const config = configOf(request)
      return routes.get(config) ?? remember(config)
    }
  }

  function remember (config: FastifyContextConfig & Partial<RouteOptions>): Route {
    const declared = declarationOf(config)
    const route = {
      declared: DECLARATIONS.includes(declared) ? declared as RouteMaintenance : undefined,
      url: Object.hasOwn(config, 'url') ? config.url : undefined,
      optionsOnly: Object.hasOwn(config, 'method') && [config.method].flat().every(method => method === 'OPTIONS'),
      verdicts: []
    }
    routes.set(config, route)
    return route
  }
}

const isOwnPage = (config: FastifyContextConfig | null | undefined): boolean => config != null && OWN_PAGE in config

function validate ({ config, method, url }: Declared): void {
  const declared = declarationOf(config)
  if (declared !== undefined && !DECLARATIONS.includes(declared)) {
    throw new RouteError(String(method), url, show(declared))
  }
}

/** Only the route's own word counts, not what a library put on `Object.prototype`. */
function declarationOf (config: FastifyContextConfig | null | undefined): unknown {
  return config != null && Object.hasOwn(config, 'maintenance') ? config.maintenance : undefined
}

function summarise (routes: readonly Declared[]): Summary {
  const saying = (value: RouteMaintenance) => routes.filter(({ config }) => declarationOf(config) === value)
  return {
    on: saying('on').length,
    // of a GET and its HEAD, one counts; our own pages do not
    off: saying('off').filter(({ config, method }) => method !== 'HEAD' && !isOwnPage(config)).length
  }
}

/** What the router keeps of a route; `store` is Fastify's context. */
interface RouterEntry {
  readonly store: {
    readonly server: FastifyInstance
    readonly config: Declared['config'] & Pick<Declared, 'method' | 'url'>
  }
}

/**
 * The routes of this instance that were declared before the plugin was loaded: no `onRoute` hook sees them, and Fastify
 * lists routes as text only. While it does, though, its router asks for what to print beside each of them.
 * @returns `null` if the router did not ask: then any route may say 'on'
 */
function earlierRoutes (fastify: FastifyInstance): Declared[] | null {
  const entries = routerEntries(fastify)
  if (entries === null) return null
  const configs = new Set(entries.filter(({ store }) => store.server === fastify).map(({ store }) => store.config))
  return [...configs].map(config => ({ config, method: config.method, url: config.url }))
}

/** The templates of all routes of the server that answer GET, in whatever context; `null`: nobody knows them. */
export function getTemplates (fastify: FastifyInstance): string[] | null {
  const configs = routerEntries(fastify)?.map(({ store }) => store.config)
  return configs?.filter(({ method }) => [method].flat().includes('GET')).map(({ url }) => url) ?? null
}

/** @returns `null` if the router did not ask what to print beside its routes */
function routerEntries (fastify: FastifyInstance): RouterEntry[] | null {
  const entries: RouterEntry[] = []
  const options = {
    includeMeta: true,
    // the router would put its own here
    get buildPrettyMeta () { return noteRoute },
    set buildPrettyMeta (_own) {}
  }
  const isEmpty = fastify.printRoutes(options as object) === '(empty tree)'
  return !isEmpty && entries.length === 0 ? null : entries

  function noteRoute (entry: RouterEntry): object {
    entries.push(entry)
    return {}
  }
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
