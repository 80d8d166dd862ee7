import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'

/**
 * How a closed site treats requests:
 * - `'full'` refuses every request;
 * - `'read-only'` lets reads through and refuses writes;
 * - `'hold'` keeps requests waiting until the site opens or `hold.timeout` passes.
 */
export type Mode = 'full' | 'read-only' | 'hold'

/** The next window in which the site will be closed. */
export interface Upcoming {
  /** When it starts, as an ISO 8601 string in UTC. */
  readonly startsAt: string
  /** When it ends, as an ISO 8601 string in UTC; `null` if no end is known. */
  readonly endsAt: string | null
  /** How the site will treat requests during the window. */
  readonly mode: Mode
  /** The message for visitors; `null` if there is none. */
  readonly message: string | null
}

/**
 * What a route declares in `config.maintenance`:
 * - `'off'`: never refused;
 * - `'on'`: always refused, even while the site is open;
 * - `'read'`: counts as a read in read-only mode, whatever its method;
 * - `'write'`: counts as a write in read-only mode, whatever its method.
 *
 * @example
 * ```ts
 * app.get('/health', { config: { maintenance: 'off' } }, async () => 'ok')
 * ```
 */
export type RouteMaintenance = 'off' | 'on' | 'read' | 'write'

/**
 * Why a request was let through or refused. Listed in order of precedence; the first match decides:
 * - `'route-off'`: the route declares `'off'`;
 * - `'route-on'`: the route declares `'on'` (refused);
 * - `'inactive'`: the site is open;
 * - `'preflight'`: a CORS preflight for a route that answers OPTIONS only;
 * - `'ignored-route'`: the route is listed in `ignore.routes`, or in the state's `ignoreRoutes`;
 * - `'ignored-ip'`: the address is listed in `ignore.ips`;
 * - `'bypass'`: the request carries a valid bypass cookie or secret;
 * - `'ignored-request'`: `ignore.request` returned `true`;
 * - `'read'`: a read while the site is in read-only mode;
 * - `'active'`: the site is closed (refused).
 */
export type Reason =
  | 'route-off' | 'route-on' | 'inactive' | 'preflight' | 'ignored-route' | 'ignored-ip'
  | 'bypass' | 'ignored-request' | 'read' | 'active'

/** What the plugin decided for one request, and why. */
export interface Decision {
  /** `true` if the request was refused. */
  readonly blocked: boolean
  /** The rule that decided. */
  readonly reason: Reason
  /** The site that the request belongs to; `null` if the `site` function returned an unknown name. */
  readonly site: string | null
  /** `true` if the site was closed when the request arrived. */
  readonly active: boolean
  /** How the closed site treats requests; `null` while the site is open. */
  readonly mode: Mode | null
  /** The next planned or scheduled window, for a banner; `null` if there is none. */
  readonly upcoming: Upcoming | null
}

/**
 * Where the present state of a site comes from:
 * - `'pinned'`: the option `enabled`;
 * - `'store'`: the store;
 * - `'mirror'`: the file named by `store.mirror`, because Redis has not been reachable since boot;
 * - `'fallback'`: the option `fallback`, because the state has never been read;
 * - `'unreadable'`: the stored record is invalid, and the site stays closed until it is set again.
 */
export type Source = 'pinned' | 'store' | 'mirror' | 'fallback' | 'unreadable'

/** A route that is let through while the site is closed. */
export interface IgnoredRoute {
  /** The pattern: `'/x'` matches that path, `'/x/*'` everything below it. */
  readonly pattern: string
  /** What the route is for; `null` if nobody said. */
  readonly description: string | null
}

/**
 * The change that `set(true, change)` makes. It replaces the whole state: anything you leave out is reset to its
 * default, except the bypass secret.
 */
export interface MaintenanceChange {
  /**
   * The message for visitors, at most 10,000 characters. Pages show it as plain text: markup is escaped.
   * @default none
   */
  message?: string
  /**
   * How the closed site treats requests.
   * @default 'full'
   */
  mode?: Mode
  /**
   * When the site closes: a `Date`, or an ISO 8601 string with a time zone. Until then, the window is announced.
   * @default now
   */
  startsAt?: Date | string
  /**
   * When the site opens again: a `Date`, or an ISO 8601 string with a time zone. It must be in the future, and after
   * `startsAt`.
   * @default none; the site stays closed until `set(false)`
   */
  endsAt?: Date | string
  /**
   * The `Retry-After` header, in seconds, from 1 to 31536000. A known end of the window takes precedence.
   * @default the option `response.retryAfter`
   */
  retryAfter?: number
  /**
   * Routes to let through, in addition to the option `ignore.routes`.
   * @default []
   */
  ignoreRoutes?: (string | { pattern: string, description?: string | null })[]
  /**
   * `true` creates a new bypass secret and invalidates the previous one; `false` only invalidates it. Requires the
   * option `bypass`.
   * @default the current secret is kept
   */
  bypass?: boolean
  /** Who makes the change, for the log, the status and the history; at most 200 characters. */
  by?: string
  /** Rejects the change unless this is still the stored revision; 0 means that nothing has been stored yet. */
  expectedRevision?: number
}

/** Whether a change waits for the other servers. */
export interface WaitOptions {
  /**
   * How long to wait for the other servers, in milliseconds, from 1 to 3600000. The call settles once every live
   * server of the site has applied the change and, if the change closes the site, no earlier request is still running
   * on any of them. Servers pinned by `enabled` are not waited for. If time runs out, the call rejects with
   * `FST_ERR_MAINTENANCE_DRAIN`, but `set()` does not undo the change.
   * @default no wait
   */
  wait?: number
}

/** Limits for `drained()`. */
export interface DrainOptions {
  /**
   * How long to wait, in milliseconds, from 1 to 3600000.
   * @default no limit
   */
  timeout?: number
  /** Stops the wait when it is aborted; the promise then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** The properties of an error with the code `FST_ERR_MAINTENANCE_DRAIN`. */
export interface StillRunning {
  /** The number of requests that are still running. */
  readonly inFlight: number
  /** The same requests, counted by method and route, such as `{ 'GET /export': 2 }`. */
  readonly routes: Readonly<Record<string, number>>
  /** The servers that were not ready in time; only set if the call waited for other servers. */
  readonly servers?: readonly ServerStatus[]
}

/** Options for `run()`, in addition to those of a change. */
export interface RunOptions {
  /**
   * How long the site stays closed if the process that runs the work dies, in milliseconds, from 1000 to 86400000. The
   * lease is renewed while the work runs. It cannot be combined with `endsAt`.
   * @default none; the site then stays closed until it is opened with `set(false)`
   */
  lease?: number
}

/** The state of a site. Values that are not set are `null`. */
export interface SiteState {
  /** The name of the site. */
  site: string
  /** `true` if maintenance mode is switched on, also before the window starts or after it has ended. */
  on: boolean
  /** `true` if the site is closed now: switched on, and inside its window. */
  active: boolean
  /** How the site treats requests while it is closed. */
  mode: Mode
  /** The message for visitors. */
  message: string | null
  /** When the window starts, as an ISO 8601 string in UTC. */
  startsAt: string | null
  /** When the window ends, as an ISO 8601 string in UTC. */
  endsAt: string | null
  /** The `Retry-After` header of this window, in seconds. */
  retryAfter: number | null
  /** Routes that this state lets through, in addition to the option `ignore.routes`. */
  ignoreRoutes: IgnoredRoute[]
  /** Who made the last change. */
  by: string | null
  /** When the last change was made, as an ISO 8601 string in UTC. */
  since: string | null
  /** The revision of the state, which grows with every change; 0 if the state was never written. */
  revision: number
  /** The next planned or scheduled window. */
  upcoming: Upcoming | null
}

/** The store, as this server sees it. */
export interface StoreStatus {
  /** Which store is used; `'custom'` is an object of your own. */
  kind: 'memory' | 'file' | 'redis' | 'custom'
  /** `true` if the last read succeeded. */
  connected: boolean
  /** When the state was last read, as an ISO 8601 string in UTC; `null` if it never was. */
  lastReadAt: string | null
  /** The problem with the store; `null` if there is none. */
  error: string | null
}

/** The state of a site, and what this server knows in addition. */
export interface MaintenanceStatus extends SiteState {
  /** Where the state comes from. */
  source: Source
  /** The state of the store. */
  store: StoreStatus
  /** Counters of this server since it started. `ignored` counts requests that were let through while closed. */
  counts: { blocked: number, ignored: number, wrongSecrets: number }
  /** The number of requests that are waiting now (`mode: 'hold'`). */
  held: number
  /** The number of running requests on this server that were let through as `'inactive'` or `'read'`. */
  inFlight: number
  /** The same for upgraded connections and event streams. They can last indefinitely, so no drain waits for them. */
  streams: number
  /** The new bypass. Set only in the result of `set(true, { bypass: true })`: it cannot be read again later. */
  bypass?: Bypass
}

/** A new way for testers to enter the closed site. */
export interface Bypass {
  /** The secret, for the header `maintenance-bypass`. */
  secret: string
  /** The path to open in a browser. The secret is in its fragment, which logs, proxies and `Referer` never contain. */
  path: string
}

/** One server of a site, as it was last reported to the store. */
export interface ServerStatus {
  /** A random id, new each time the process starts. */
  id: string
  /** The name of the host. */
  host: string
  /** The id of the process. */
  pid: number
  /** The version of fastify-maintenance. */
  version: string
  /** The name of the site. */
  site: string
  /** The revision of the state that the server applies. */
  revision: number
  /** `true` if the site is closed on this server. */
  active: boolean
  /** `true` if the option `enabled` decides on this server, whatever the state says. */
  pinned: boolean
  /** The number of running requests that were let through as `'inactive'` or `'read'`. */
  inFlight: number
  /** The same for upgraded connections and event streams. */
  streams: number
  /** Requests in `inFlight` that are older than the applied state, by method and route: `{ 'GET /export': 2 }`. */
  holding: Record<string, number>
  /** When the server started, as an ISO 8601 string in UTC. */
  startedAt: string
  /** When the server last reported, as an ISO 8601 string in UTC; by the clock of the store, if it has one. */
  seenAt: string
}

/**
 * Called when the state changes, and when a window starts or ends. Errors that it throws are logged.
 * @param status the new status
 * @param previous the status before the change
 */
export type ChangeListener = (status: MaintenanceStatus, previous: MaintenanceStatus) => void

/**
 * The API at `fastify.maintenance`.
 *
 * If the option `site` is a function, there is no default site: every member except `for` and `sites` then throws
 * `FST_ERR_MAINTENANCE_SITE`. Use `for(site)` instead.
 */
export interface Maintenance {
  /** `true` if the site is closed now. */
  readonly active: boolean
  /** Returns the status from memory, without reading the store. */
  status (): MaintenanceStatus
  /**
   * Closes the site, or replaces the state of a closed one. The change is written to the store first and then applied on
   * this server. Without `wait`, the promise settles within 2 seconds.
   * @throws FST_ERR_MAINTENANCE_CHANGE if an argument is invalid
   * @throws FST_ERR_MAINTENANCE_PINNED if the option `enabled` is set
   * @throws FST_ERR_MAINTENANCE_TEMPLATE if the application's template cannot be rendered
   * @throws FST_ERR_MAINTENANCE_CONFLICT if `expectedRevision` is not the stored revision
   * @throws FST_ERR_MAINTENANCE_STORE if the store failed; nothing was changed
   * @throws FST_ERR_MAINTENANCE_STORE_UNKNOWN if the store did not answer; the change may have been written
   * @throws FST_ERR_MAINTENANCE_DRAIN if `wait` ran out; the change was made
   * @example
   * ```ts
   * await app.maintenance.set(true, { message: 'Back at noon', by: 'ada' })
   * ```
   */
  set (on: true, change?: MaintenanceChange & WaitOptions): Promise<MaintenanceStatus>
  /**
   * Opens the site; with a `boolean` variable, opens or closes it. Throws the same errors as closing.
   * @example
   * ```ts
   * await app.maintenance.set(false, { by: 'ada' })
   * ```
   */
  set (on: boolean, change?: Pick<MaintenanceChange, 'by' | 'expectedRevision'> & WaitOptions): Promise<MaintenanceStatus>
  /**
   * Closes the site, does the work, and opens the site again, even if the work throws. If runs overlap, the site opens
   * when the last one ends. A change that someone makes with `set()` in the meantime is kept. With `wait`, the work starts
   * once all servers are ready; if time runs out, it does not start and the site opens again.
   * @returns the result of the work
   * @throws whatever the work throws, and the errors of `set()`
   * @example
   * ```ts
   * await app.maintenance.run(() => migrate(), { message: 'Upgrading', wait: 30_000 })
   * ```
   */
  run<T> (work: () => T | Promise<T>, change?: MaintenanceChange & RunOptions & WaitOptions): Promise<T>
  /**
   * Returns this API for one site of this server.
   * @throws FST_ERR_MAINTENANCE_SITE if the name is unknown
   */
  for (site: string): Maintenance
  /** The names of all sites of this server. */
  readonly sites: string[]
  /** Reads the store now, and returns the status. It doesn't reject if the read fails: see `status().store`. */
  refresh (): Promise<MaintenanceStatus>
  /** Returns what the plugin would decide for this request now, without calling `ignore.request`. */
  explain (request: FastifyRequest): Decision
  /**
   * Calls the listener when the state changes, and when a window starts or ends.
   * @returns a function that removes the listener
   */
  onChange (listener: ChangeListener): () => void
  /**
   * Waits until no request that was let through as `'inactive'` or `'read'` is still running on this server. Streams
   * are not waited for, nor are reads that arrive after the call while the site is read-only.
   * @throws FST_ERR_MAINTENANCE_CHANGE if an option is invalid
   * @throws FST_ERR_MAINTENANCE_DRAIN if time ran out or the site was opened in the meantime; see {@link StillRunning}
   */
  drained (options?: DrainOptions): Promise<void>
  /**
   * Lists the live servers of the site. A server that crashed is removed after 15 seconds.
   * @throws FST_ERR_MAINTENANCE_STORE if the store failed
   */
  servers (): Promise<ServerStatus[]>
  /**
   * Lists the last changes, newest first.
   * @param options.limit how many to return, from 1 to 100 (default 100)
   * @throws FST_ERR_MAINTENANCE_CHANGE if the limit is invalid
   * @throws FST_ERR_MAINTENANCE_STORE if the store failed
   */
  history (options?: { limit?: number }): Promise<HistoryEntry[]>
}

/** On which condition a store writes a record. */
export interface WriteCondition {
  /** The revision of the record to write. */
  revision: number
  /**
   * The write must be rejected unless this is the revision of the stored record; 0: unless nothing is stored.
   * @default any; the record is written whatever is stored
   */
  expected?: number
  /**
   * `true` if the write must not appear in the history, because it only renews a lease.
   * @default false
   */
  quiet?: boolean
}

/**
 * Stores the state of sites. Records are opaque strings: a store never has to parse them. Run the tests of
 * `fastify-maintenance/store-contract` on a store of your own.
 */
export interface MaintenanceStore {
  /** Returns the stored record exactly as it was written, or `null` if none was. */
  read (site: string): Promise<string | null>
  /**
   * Stores the record and its revision. Comparing `condition.expected` and writing must be one atomic step: of several
   * concurrent writes that expect the same revision, exactly one may succeed.
   * @throws an error with the code `FST_ERR_MAINTENANCE_CONFLICT` if the stored revision isn't the expected one; any
   * other error means that nothing was written, unless its code is `FST_ERR_MAINTENANCE_STORE_UNKNOWN`
   */
  write (site: string, record: string, condition: WriteCondition): Promise<void>
  /**
   * Calls `onHint` when a record may have changed, with the site if it is known. Hints are optional: they may be lost,
   * late or wrong, because the store is also polled. If a promise is returned, it settles once the store is watched.
   */
  watch (onHint: (site?: string) => void): void | Promise<void>
  /** Stops watching and releases all resources. May be called twice. */
  close (): void | Promise<void>
  /** Adds an entry to the history of a site. Leave it out if `write` already does so, or if there is no history. */
  append? (site: string, entry: string): Promise<void>
  /** Lists the last records, newest first. Without it, `history()` only knows the changes of its own process. */
  list? (site: string, limit: number): Promise<string[]>
  /**
   * Keeps the entry of a server for `ttl` milliseconds and replaces its previous one; a `ttl` of 0 removes it. Without
   * `beat` and `beats`, `servers()` only knows its own process.
   */
  beat? (site: string, id: string, entry: string, ttl: number): Promise<void>
  /** Lists the server entries that have not expired. Required if there is `beat`. */
  beats? (site: string): Promise<string[]>
  /** Returns the time by the store's clock, in milliseconds since 1970. Without it, the clock of this process is used. */
  now? (): number
}

/**
 * A client of ioredis 5.3 or later, ioredis 6 or iovalkey, including a Cluster or Sentinel client and the `fastify.redis`
 * of `@fastify/redis`. The plugin works on connections of its own, which it creates with `duplicate()`; each uses the
 * credentials that the options of the client have at that moment.
 */
export interface RedisClient {
  /** Creates a new client with the same options. */
  duplicate (...overrides: never[]): unknown
}

/** Keeps the state in Redis. */
export interface RedisStoreOptions {
  /**
   * A client, an address (`redis://` or `rediss://`), or the options of an ioredis client. Options may have a `url`, as those
   * of `@fastify/redis`. Their `username`, `password`, `sentinelUsername` and `sentinelPassword` may be functions, which
   * are called before each connection is made.
   * @throws FST_ERR_MAINTENANCE_OPTION for anything else, such as a client of the package `redis`
   */
  redis: RedisClient | string | object
  /**
   * The prefix of all keys and channels, at most 200 characters.
   * @default 'fastify-maintenance:'
   */
  prefix?: string
  /**
   * The path of a file that keeps the last known state, for boots while Redis is unreachable.
   * @default none
   */
  mirror?: string
  /**
   * How often the state is read without a notification, in milliseconds, from 100 to 3600000.
   * @default 5000
   */
  pollInterval?: number
}

/** One change in the history of a site. Values that are not set are `null`. */
export interface HistoryEntry {
  /** The revision that the change created. */
  revision: number
  /** `true` if the change switched maintenance mode on. */
  on: boolean
  /** How the closed site treats requests. */
  mode: Mode
  /** The message for visitors. */
  message: string | null
  /** When the window starts, as an ISO 8601 string in UTC. */
  startsAt: string | null
  /** When the window ends, as an ISO 8601 string in UTC. */
  endsAt: string | null
  /** Who made the change. */
  by: string | null
  /** When the change was made, as an ISO 8601 string in UTC. */
  at: string
}

/** The format of a refusal. */
export type ResponseType = 'html' | 'json' | 'text'

/** What refused requests get. */
export interface ResponseOptions {
  /**
   * The status code, from 200 to 599.
   * @default 503
   */
  statusCode?: number
  /**
   * The `Retry-After` header, in seconds, from 1 to 31536000; `false` sends none. A known end of the window takes
   * precedence.
   * @default 300
   */
  retryAfter?: number | false
  /**
   * The format of the body, or a function that picks it for each request. `'auto'` negotiates it by `Accept`.
   * @default 'auto'
   */
  type?: 'auto' | ResponseType | ((request: FastifyRequest) => ResponseType)
  /**
   * A template for your own `@fastify/view`; if the application has none, the path of an Eta file.
   * @default the bundled page
   */
  template?: string
  /** Additional variables for the template. A function is called for each refused page, which is then rendered anew. */
  data?: object | ((request: FastifyRequest) => object | Promise<object>)
  /**
   * A local path or an absolute URL, to which browsers that open a page are redirected.
   * @default none
   */
  redirect?: string
  /**
   * The `Refresh` header of HTML pages, in seconds, from 1 to 31536000.
   * @default none
   */
  refresh?: number
  /**
   * Additional headers for every refusal.
   * @default {}
   */
  headers?: Record<string, string>
}

/** Requests that are let through while the site is closed. */
export interface IgnoreOptions {
  /**
   * Routes to let through, in addition to `/robots.txt`: `'/x'` is that path, `'/x/*'` everything below it. A regular
   * expression is matched against the path.
   * @default []
   */
  routes?: string | RegExp | (string | RegExp)[]
  /**
   * Addresses and CIDR blocks, compared with `request.ip`.
   * @default []
   * @example ['192.0.2.7', '10.0.0.0/8', '2001:db8::/32']
   */
  ips?: string | string[]
  /**
   * Decides last, and only while the site is closed. The request is refused if the function throws, or doesn't settle
   * within 3 seconds.
   */
  request?: (request: FastifyRequest) => boolean | Promise<boolean>
}

/** Lets testers in who know the secret of the window. */
export interface BypassOptions {
  /**
   * The path of the page that exchanges the secret for a cookie, below the prefix of the plugin.
   * @default '/maintenance/bypass'
   */
  path?: string
  /**
   * A secret that all servers share, from 32 to 1000 characters. With it, read access to the store is not enough to
   * forge a cookie.
   */
  key?: string
  /**
   * How long a cookie is valid, in seconds.
   * @default 43200 (12 hours)
   */
  ttl?: number
  /**
   * The name of the cookie. Over HTTPS, it is prefixed with `__Host-`.
   * @default 'maintenance'
   */
  cookie?: string
}

/**
 * A recurring window.
 * @example { cron: '0 1 * * sun', duration: '2h', timeZone: 'Europe/Berlin' }
 */
export interface ScheduleOptions {
  /** When the window starts: a cron pattern of five fields, or of six with seconds first. */
  cron: string
  /** How long the window lasts, such as `'90s'`, `'30m'`, `'1h30m'` or `'2d'`. */
  duration: string
  /**
   * The IANA name of the time zone of `cron`.
   * @default the time zone of the process
   */
  timeZone?: string
  /**
   * How the closed site treats requests.
   * @default 'full'
   */
  mode?: Mode
  /**
   * The message for visitors, at most 10,000 characters.
   * @default none
   */
  message?: string
}

/** Limits for requests that wait (`mode: 'hold'`). */
export interface HoldOptions {
  /**
   * How many requests may wait, from 1 to 1000000. Further ones are refused at once.
   * @default 1000
   */
  max?: number
  /**
   * How long a request waits before it is refused, in milliseconds, from 1 to 600000.
   * @default 10000
   */
  timeout?: number
}

/** When to end WebSockets and event streams after the site has closed. */
export interface CloseStreamsOptions {
  /**
   * How long after closing, in milliseconds, from 0 to 3600000.
   * @default 5000
   */
  after?: number
  /**
   * The period over which they are spread at random, in milliseconds, from 0 to 3600000, so that clients don't all
   * reconnect at once.
   * @default 2000
   */
  jitter?: number
}

/** The options of the plugin. All are optional. */
export interface FastifyMaintenanceOptions {
  /**
   * Pins the mode on this server: `true` keeps the site closed and `false` open, whatever the state says. `set()` and
   * `run()` then reject with `FST_ERR_MAINTENANCE_PINNED`.
   */
  enabled?: boolean
  /**
   * The name of this server's site, or a function that returns the site of a request. A function requires `sites`.
   * @default 'default'
   */
  site?: string | ((request: FastifyRequest) => string)
  /**
   * All sites that this server serves.
   * @default this server's own site
   */
  sites?: string | string[]
  /**
   * Where the state is kept. `'memory'` keeps it in this process only. To share it, use an address (`'redis://…'`,
   * `'rediss://…'`, `'file:PATH'`), the options of a file or Redis store, or a store of your own.
   * @default 'memory'
   */
  store?: string | { file: string } | RedisStoreOptions | MaintenanceStore
  /**
   * Whether sites are closed as long as their state has never been read, because the store has been unreachable since
   * boot.
   * @default false
   */
  fallback?: boolean
  /** Which requests are let through while the site is closed. */
  ignore?: IgnoreOptions
  /** What refused requests get. */
  response?: ResponseOptions
  /**
   * Lets testers in who know the secret of the window. `{}` is enough.
   * @default nobody
   */
  bypass?: BypassOptions
  /**
   * Recurring windows. A state that is set explicitly takes precedence until it is switched off.
   * @default []
   */
  schedule?: ScheduleOptions | ScheduleOptions[]
  /** Limits for requests that wait (`mode: 'hold'`). */
  hold?: HoldOptions
  /**
   * Ends WebSockets (with code 1012) and event streams that were opened before the site closed.
   * @default they stay open
   */
  closeStreams?: CloseStreamsOptions
  /**
   * Called before a blocked request is answered, for example to log the user out. It may answer itself (`reply.send()`,
   * `reply.redirect()`, `reply.hijack()`, `reply.raw.end()`); then ours is not sent. It is awaited for at most 3 seconds,
   * and errors are logged.
   */
  onBlocked?: (request: FastifyRequest, reply: FastifyReply) => void | Promise<void>
  /** Called when the state changes, and when a window starts or ends. */
  onChange?: ChangeListener
}

/**
 * The plugin.
 * @example
 * ```ts
 * import maintenance from 'fastify-maintenance'
 *
 * await app.register(maintenance, { store: { file: './maintenance.json' } })
 * ```
 */
export type FastifyMaintenance = FastifyPluginAsync<FastifyMaintenanceOptions>

declare module 'fastify' {
  interface FastifyInstance {
    /** Opens and closes sites, and says which are closed. */
    maintenance: Maintenance
  }
  interface FastifyRequest {
    /** What the plugin decided when this request arrived. */
    readonly maintenance: Decision
  }
  interface FastifyContextConfig {
    /** `'off'`: never refused; `'on'`: always refused; `'read'`, `'write'`: what the route does in read-only mode. */
    maintenance?: RouteMaintenance
  }
}
