import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'

/**
 * How a closed site treats requests:
 * - `'full'` blocks every request;
 * - `'read-only'` lets reads through and blocks writes;
 * - `'hold'` keeps requests waiting until the site opens or `hold.timeout` passes.
 */
export type Mode = 'full' | 'read-only' | 'hold'

/** What visitors read: one text, or a text per language tag, such as `{ en: 'Back soon', de: 'Bald zurück' }`. */
export type Message = string | { readonly [language: string]: string }

/**
 * Where a window comes from:
 * - `'now'`: an operator closed the site;
 * - `'planned'`: it was announced for later;
 * - `'run'`: the site is closed while a piece of work is running;
 * - `'scheduled'`: the option `schedule`.
 */
export type WindowKind = 'now' | 'planned' | 'run' | 'scheduled'

/** A window that is still to come. */
export interface UpcomingWindow {
  /** When it starts, as an ISO 8601 string in UTC. */
  readonly startsAt: string
  /** When it ends, as an ISO 8601 string in UTC; `null` if no end is known. */
  readonly endsAt: string | null
  /** How the site will treat requests during the window. */
  readonly mode: Mode
  /** The message for visitors; `null` if there is none. */
  readonly message: Message | null
}

/** One period of maintenance. Values that are not set are `null`. */
export interface WindowStatus {
  /** Names the window in `update()` and `cancel()`. */
  readonly id: string
  /** Where it comes from. A later version may know more kinds. */
  readonly kind: WindowKind | (string & {})
  /** `true` if it closes the site now. */
  readonly active: boolean
  /** How the site treats requests during the window. */
  readonly mode: Mode
  /** The message for visitors. */
  readonly message: Message | null
  /** When it starts, as an ISO 8601 string in UTC; `null` if it started when it was created. */
  readonly startsAt: string | null
  /** When it ends, as an ISO 8601 string in UTC. The end of a run is only what visitors are told. */
  readonly endsAt: string | null
  /** The `Retry-After` header, in seconds. */
  readonly retryAfter: number | null
  /** Routes that it lets through, in addition to the option `ignore.routes`. */
  readonly ignoreRoutes: readonly IgnoredRoute[]
  /** Addresses that it lets through, in addition to the option `ignore.ips`. */
  readonly ignoreIps: readonly string[]
  /** The only routes that it closes; empty if it closes the whole site. */
  readonly onlyRoutes: readonly string[]
  /** `true` if testers can enter with a bypass secret. */
  readonly bypass: boolean
  /** When a run ends unless its process renews the lease, as an ISO 8601 string in UTC. */
  readonly lease: string | null
  /** Who created it. */
  readonly by: string | null
  /** When it was created, as an ISO 8601 string in UTC. */
  readonly at: string
  /** The host that does the work of a run. */
  readonly host: string | null
  /** The process that does the work of a run. */
  readonly pid: number | null
}

/**
 * What a route declares in `config.maintenance`:
 * - `'off'`: never blocked;
 * - `'on'`: always blocked, even while the site is open;
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
 * Why a request was let through or blocked. Listed in order of precedence; the first match decides:
 * - `'route-off'`: the route declares `'off'`;
 * - `'route-on'`: the route declares `'on'` (blocked);
 * - `'inactive'`: the site is open;
 * - `'preflight'`: a CORS preflight for a route that answers OPTIONS only;
 * - `'ignored-route'`: the route is listed in `ignore.routes`, or in the state's `ignoreRoutes`;
 * - `'ignored-ip'`: the address is listed in `ignore.ips`;
 * - `'bypass'`: the request carries a valid bypass cookie or secret;
 * - `'ignored-request'`: `ignore.request` returned `true`;
 * - `'read'`: a read while the site is in read-only mode;
 * - `'active'`: the site is closed (blocked).
 */
export type Reason =
  | 'route-off' | 'route-on' | 'inactive' | 'preflight' | 'ignored-route' | 'ignored-ip'
  | 'bypass' | 'ignored-request' | 'read' | 'active'

/** What the plugin decided for one request, and why. */
export interface Decision {
  /** `true` if the request was blocked. */
  readonly blocked: boolean
  /** The rule that decided. */
  readonly reason: Reason
  /** The site that the request belongs to; `null` if the `site` function returned an unknown name. */
  readonly site: string | null
  /** `true` if the site was closed when the request arrived. */
  readonly active: boolean
  /** How the closed site treats requests; `null` while the site is open. */
  readonly mode: Mode | null
  /** The id of the window that blocked the request; `null` if none did. */
  readonly window: string | null
  /** The next planned or scheduled window, for a banner; `null` if there is none. */
  readonly upcoming: UpcomingWindow | null
}

/** The decision for a request, at `request.maintenance`. */
export interface RequestMaintenance extends Decision {
  /**
   * Refuses a write that is only known inside of a handler, such as a GraphQL mutation: throws unless the request may
   * write now. The error has the status code 503, the code `FST_ERR_MAINTENANCE`, a `Retry-After` header and GraphQL
   * `extensions`.
   * @example
   * ```ts
   * const resolvers = { Mutation: { addUser (_, args, { request }) { request.maintenance.refuse() } } }
   * ```
   */
  refuse (): void
}

/**
 * Where the present state of a site comes from:
 * - `'pinned'`: the option `pinned`;
 * - `'store'`: the store;
 * - `'mirror'`: the file named by `store.mirror`, because the store has not been reachable since boot;
 * - `'unknown'`: the option `whenUnknown`, because the state has never been read;
 * - `'unreadable'`: the stored record is invalid, and the site stays closed until it is set again;
 * - `'fenced'`: the option `fence`, because other servers cannot see this one.
 */
export type Source = 'pinned' | 'store' | 'mirror' | 'unknown' | 'unreadable' | 'fenced'

/** A route that is let through while the site is closed. */
export interface IgnoredRoute {
  /** The pattern: `'/x'` matches that path, `'/x/*'` everything below it. */
  readonly pattern: string
  /** What the route is for; `null` if nobody said. */
  readonly description: string | null
}

/**
 * The change that `set(true, change)` makes: it creates or replaces the window that closes the site now. Anything you
 * leave out is reset to its default, except the bypass secret. A value of `undefined` counts as left out.
 */
export interface MaintenanceChange {
  /**
   * The message for visitors, at most 10,000 characters, or one per language. Pages show it as plain text: markup is
   * escaped.
   * @default none
   */
  message?: Message | undefined
  /**
   * How the closed site treats requests.
   * @default 'full'
   */
  mode?: Mode | undefined
  /**
   * When the site closes: a `Date`, an ISO 8601 string with a time zone, or a time from now such as `'+2h'`. A start in
   * the future adds a planned window and leaves the current state alone.
   * @default now
   */
  startsAt?: Date | string | undefined
  /**
   * When the site opens again: a `Date`, an ISO 8601 string with a time zone, or a time from the start of the window
   * such as `'+30m'`. It must be in the future, and after `startsAt`.
   * @default none; the site stays closed until `set(false)`
   */
  endsAt?: Date | string | undefined
  /**
   * The `Retry-After` header, in seconds, from 1 to 31536000. A known end of the window takes precedence.
   * @default the option `response.retryAfter`
   */
  retryAfter?: number | undefined
  /**
   * Routes to let through, in addition to the option `ignore.routes`.
   * @default []
   */
  ignoreRoutes?: (string | { pattern: string, description?: string | null | undefined })[] | undefined
  /**
   * Addresses and CIDR blocks to let through, in addition to the option `ignore.ips`.
   * @default []
   */
  ignoreIps?: string[] | undefined
  /**
   * Close only these routes, such as `['/checkout/*']`.
   * @default the whole site
   */
  onlyRoutes?: string[] | undefined
  /**
   * `true` creates a new bypass secret and invalidates the previous one; `false` only invalidates it. Requires the
   * option `bypass`.
   * @default the current secret is kept
   */
  bypass?: boolean | undefined
  /** Who makes the change, for the log, the status and the history; at most 200 characters. */
  by?: string | undefined
  /** Rejects the change unless this is still the stored revision; 0 means that nothing has been stored yet. */
  expectedRevision?: number | undefined
}

/** The change that `update()` makes. It changes only what it names; `null` unsets a value. */
export type MaintenanceUpdate = {
  [name in Exclude<keyof MaintenanceChange, 'by' | 'expectedRevision'>]?: MaintenanceChange[name] | null
} & Pick<MaintenanceChange, 'by' | 'expectedRevision'>

/** Options for `update()`. */
export interface UpdateOptions {
  /** The id of the window to change. */
  window?: string | undefined
}

/** Options for `set(false)`. */
export interface OpenOptions extends Pick<MaintenanceChange, 'by' | 'expectedRevision'> {
  /**
   * Opens the site although runs keep it closed: they are ended, and their `signal` aborts.
   * @default false
   */
  force?: boolean | undefined
}

/** Whether a change waits for the other servers. */
export interface WaitOptions {
  /**
   * How long to wait for the other servers: milliseconds or a duration such as `'30s'`, up to an hour; `true` waits for
   * 30 seconds. The call resolves once it is safe to go on: every server of the site has applied the change and, if the
   * change closes the site, nothing from before is still running on any of them. It rejects with
   * `FST_ERR_MAINTENANCE_DRAIN` if time runs out, and as soon as a server is lost, or pinned to the opposite. `set()`
   * does not undo the change then. A store without `heartbeat` can't answer: the call rejects before anything is
   * written.
   * @default no wait
   */
  wait?: number | string | boolean | undefined
  /**
   * `true` if you have made sure that lost servers are dead: the wait does not count them, and removes them from the
   * list.
   * @default false
   */
  assumeDead?: boolean | undefined
}

/** Limits for `drained()`. */
export interface DrainOptions {
  /**
   * How long to wait: milliseconds or a duration such as `'30s'`, up to an hour.
   * @default no limit
   */
  timeout?: number | string | undefined
  /** Stops the wait when it is aborted; the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

/** The properties of an error with the code `FST_ERR_MAINTENANCE_DRAIN`. */
export interface DrainErrorDetails {
  /** The number of requests that are still running. */
  readonly inFlight: number
  /** The same requests, counted by method and route, such as `{ 'GET /export': 2 }`. */
  readonly routes: Readonly<Record<string, number>>
  /** The servers that were not ready in time; only set if the call waited for other servers. */
  readonly servers?: readonly ServerStatus[]
  /** The servers that vanished without a goodbye: they crashed, hang, or cannot reach the store. Set like `servers`. */
  readonly lost?: readonly ServerStatus[]
  /** The servers that do the opposite because of their option `pinned`. Set like `servers`. */
  readonly pinned?: readonly ServerStatus[]
  /** The state that `set()` or `update()` has written: it stands. */
  readonly status?: MaintenanceStatus
}

/** The properties of an error with the code `FST_ERR_MAINTENANCE_RUNNING`. */
export interface RunningRuns {
  /** The runs that keep the site closed. */
  readonly runs: readonly {
    readonly id: string
    readonly host: string
    readonly pid: number
    /**
     * Is its server still there? `'lost'`: it has not been heard of for 15 seconds; `'stopped'`: it said goodbye;
     * `'unknown'`: a command, a server that the store has forgotten, or a store that keeps no servers.
     */
    readonly server: 'running' | 'lost' | 'stopped' | 'unknown'
    readonly by: string | null
    readonly since: string
  }[]
}

/** Options for `run()`, in addition to those of a change. */
export interface RunOptions {
  /**
   * How long the site stays closed if the process that runs the work dies: milliseconds or a duration such as `'30s'`,
   * from 1 second to a day. The lease is renewed while the work runs.
   * @default none; the site then stays closed until it is opened with `set(false, { force: true })`
   */
  lease?: number | string | undefined
  /**
   * Keeps the site closed if the work fails or its lease ends.
   * @default false
   */
  stayClosed?: boolean | undefined
}

/** What the work of a `run()` is called with. */
export interface RunContext {
  /** Aborts if the run is ended by force, if its lease cannot be renewed, and if the server closes. */
  readonly signal: AbortSignal
  /** The same as `fastify.maintenance.track`. */
  readonly track: Maintenance['track']
  /** The link for testers, if the run was given `bypass: true`. */
  readonly bypass: Bypass | null
}

/** The state of a site. Values that are not set are `null`. */
export interface SiteState {
  /** The name of the site. */
  site: string
  /** `true` if the site is closed now, also if only a part of it is. */
  active: boolean
  /** How the site treats requests; `null` while it is open. With several active windows, the strictest decides. */
  mode: Mode | null
  /** The message for visitors, of the window that decides. */
  message: Message | null
  /** When that window started, as an ISO 8601 string in UTC; `null` if it started when it was created. */
  startsAt: string | null
  /** When that window ends, as an ISO 8601 string in UTC. */
  endsAt: string | null
  /** The `Retry-After` header of that window, in seconds. */
  retryAfter: number | null
  /** Since when the site has been closed without a gap, as an ISO 8601 string in UTC. An edit does not move it. */
  closedSince: string | null
  /** When the last change was made, as an ISO 8601 string in UTC. */
  changedAt: string | null
  /** Who made the last change. */
  by: string | null
  /** The revision of the state, which grows with every change; 0 if the state was never written. */
  revision: number
  /** All windows: those that are active, and those that are still to come. */
  windows: WindowStatus[]
  /** The next planned or scheduled window. */
  upcoming: UpcomingWindow | null
}

/**
 * The body of `publicStatus`. Values that are not set are `null`; while the site is open, all but the first two and the
 * last.
 */
export interface PublicStatus {
  /** The name of the site; `null` if the `site` function returned an unknown name. */
  readonly site: string | null
  /** `true` if the site is closed now, also if only a part of it is. */
  readonly active: boolean
  /** How the site treats requests. */
  readonly mode: Mode | null
  /** The operator's message for visitors, in the language that `Accept-Language` asks for. */
  readonly message: string | null
  /** When the window started, as an ISO 8601 string in UTC. */
  readonly startsAt: string | null
  /** When it is expected to end, as an ISO 8601 string in UTC. */
  readonly endsAt: string | null
  /** When to ask again, in seconds. */
  readonly retryAfter: number | null
  /** The only routes that are closed; `null` if the whole site is. */
  readonly onlyRoutes: readonly string[] | null
  /** The windows that are still to come, the next one first. */
  readonly upcoming: readonly {
    readonly startsAt: string, readonly endsAt: string | null, readonly mode: Mode, readonly message: string | null
  }[]
}

/** The store, as this server sees it. */
export interface StoreStatus {
  /** Which store is used; `'custom'` is an object of your own. */
  kind: 'memory' | 'file' | 'redis' | 'sql' | 'custom'
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
  counts: { blocked: number, ignored: number, failedBypasses: number }
  /** The number of requests that are waiting now (`mode: 'hold'`). */
  held: number
  /** The number of running requests on this server that were let through as `'inactive'` or `'read'`. */
  inFlight: number
  /** The same for upgraded connections and event streams. They can last indefinitely, so no drain waits for them. */
  streams: number
  /** The new bypass. Set only in the result of `set(true, { bypass: true })`: it cannot be read again later. */
  bypass?: Bypass | undefined
}

/** A new way for testers to enter the closed site. */
export interface Bypass {
  /** The secret, for the header `maintenance-bypass`. */
  secret: string
  /** The path to open in a browser. The secret is in its fragment, which logs, proxies and `Referer` never contain. */
  path: string
}

/** One server, as it last reported to the store. */
export interface ServerStatus {
  /** A random id, new each time the process starts. */
  id: string
  /** A name for people: host and process. */
  label: string
  /** The name of the host. */
  host: string
  /** The id of the process. */
  pid: number
  /** The version of fastify-maintenance. */
  version: string
  /** The sites that it serves. */
  sites: ServerSite[]
  /** The number of running requests that were let through as `'inactive'` or `'read'`. */
  inFlight: number
  /** The same for upgraded connections and event streams. */
  streams: number
  /** What started before the current state and is still running, by route or name: `{ 'GET /export': 2 }`. */
  draining: Record<string, number>
  /** The path of the bypass page; `null` if the option `bypass` is not set. */
  bypassPath: string | null
  /** When the server started, as an ISO 8601 string in UTC. */
  startedAt: string
  /** When the server last reported, as an ISO 8601 string in UTC; by the clock of the store, if it has one. */
  seenAt: string
  /** `true` if it vanished without saying goodbye. */
  lost: boolean
}

/** One site on one server. */
export interface ServerSite {
  /** The name of the site. */
  site: string
  /** The revision of the state that the server applies. */
  revision: number
  /** `true` if the site is closed on this server. */
  active: boolean
  /** `true` if the option `pinned` decides on this server, whatever the state says. */
  pinned: boolean
  /** What started before the current state of this site and is still running, by route or name. */
  draining: Record<string, number>
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
  status(): MaintenanceStatus
  /**
   * Closes the site: creates the window that closes it now, or replaces it. With a `startsAt` in the future it adds a
   * planned window instead. The change is written to the store first and then applied on
   * this server. Without `wait`, the promise settles within 2 seconds.
   * @throws FST_ERR_MAINTENANCE_CHANGE if an argument is invalid
   * @throws FST_ERR_MAINTENANCE_PINNED if the option `pinned` is set
   * @throws FST_ERR_MAINTENANCE_TEMPLATE if the application's template cannot be rendered
   * @throws FST_ERR_MAINTENANCE_CONFLICT if `expectedRevision` is not the stored revision
   * @throws FST_ERR_MAINTENANCE_STORE if the store failed; nothing was changed
   * @throws FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN if the store did not answer; the change may have been written
   * @throws FST_ERR_MAINTENANCE_DRAIN if `wait` ran out; the change was made
   * @example
   * ```ts
   * await app.maintenance.set(true, { message: 'Back at noon', by: 'ada' })
   * ```
   */
  set(on: true, change?: MaintenanceChange & WaitOptions): Promise<MaintenanceStatus>
  /**
   * Opens the site: ends everything that closes it now. Windows that are still to come stay planned. With a `boolean`
   * variable, opens or closes it. Throws the same errors as closing.
   * @throws FST_ERR_MAINTENANCE_RUNNING while runs keep the site closed, unless `force` is set; see {@link RunningRuns}
   * @example
   * ```ts
   * await app.maintenance.set(false, { by: 'ada' })
   * ```
   */
  set(on: boolean, options?: OpenOptions & WaitOptions): Promise<MaintenanceStatus>
  /**
   * Changes only what is named, and leaves the rest as it is; `null` unsets a value. It applies to the window that
   * closes the site now, else to the only active or only planned one; name any other one. `endsAt: '+30m'` counts from
   * the window's end, or from its start if it has no end, and never from a time before now.
   * @throws FST_ERR_MAINTENANCE_CHANGE if there is nothing to change, or several windows could be meant; and the errors
   * of `set()`
   * @example
   * ```ts
   * await app.maintenance.update({ endsAt: '+30m' })
   * ```
   */
  update(change: MaintenanceUpdate & WaitOptions, options?: UpdateOptions): Promise<MaintenanceStatus>
  /**
   * Cancels a planned window; without an id, the only one.
   * @throws FST_ERR_MAINTENANCE_CHANGE if there is no such window; and the errors of `set()`
   */
  cancel(id?: string, options?: Pick<MaintenanceChange, 'by' | 'expectedRevision'>): Promise<MaintenanceStatus>
  /**
   * Keeps the site closed while it does the work, by a window of its own: whatever closed the site before is there
   * again afterwards. `endsAt` is only what visitors are told. With `wait`, the work starts once all servers are ready;
   * if time runs out, it does not start.
   * @returns the result of the work
   * @throws whatever the work throws, and the errors of `set()`
   * @example
   * ```ts
   * await app.maintenance.run(({ signal }) => migrate(signal), { message: 'Upgrading', wait: '30s', lease: '30s' })
   * ```
   */
  run<T>(
    work: (context: RunContext) => T | Promise<T>,
    change?: Omit<MaintenanceChange, 'startsAt'> & RunOptions & WaitOptions
  ): Promise<T>
  /**
   * Makes work outside of requests count: `drained()` and `wait` wait for it, and name it. Work that begins while the
   * site is closed doesn't count, unless something from before is still running: the work may come from it.
   * @returns what the work returns
   */
  track<T>(work: Promise<T> | (() => T | Promise<T>), name: string): Promise<T>
  /**
   * Returns this API for one site of this server.
   * @throws FST_ERR_MAINTENANCE_SITE if the name is unknown
   */
  for(site: string): Maintenance
  /** The names of all sites of this server. */
  readonly sites: string[]
  /** Reads the store now, and returns the status. It doesn't reject if the read fails: see `status().store`. */
  refresh(): Promise<MaintenanceStatus>
  /** Returns what the plugin would decide for this request now, without calling `ignore.request`. */
  explain(request: FastifyRequest): Decision
  /**
   * Calls the listener when the state changes, and when a window starts or ends.
   * @returns a function that removes the listener
   * @throws FST_ERR_MAINTENANCE_CHANGE if the listener is not a function
   */
  onChange(listener: ChangeListener): () => void
  /**
   * Waits until no request that was let through as `'inactive'` or `'read'` is still running on this server. Streams
   * are not waited for, nor are reads that arrive after the call while the site is read-only.
   * @throws FST_ERR_MAINTENANCE_CHANGE if an option is invalid
   * @throws FST_ERR_MAINTENANCE_DRAIN if time ran out or the site was opened in the meantime;
   * see {@link DrainErrorDetails}
   */
  drained(options?: DrainOptions): Promise<void>
  /**
   * Lists the servers of the site. A server that vanished is `lost` 15 seconds after its last report; it is listed
   * until it comes back, is known to be dead, or 10 minutes have passed.
   * @throws FST_ERR_MAINTENANCE_STORE if the store failed
   */
  servers(): Promise<ServerStatus[]>
  /**
   * Lists the last changes, newest first.
   * @param options.limit how many to return, from 1 to 100 (default 100)
   * @throws FST_ERR_MAINTENANCE_CHANGE if the limit is invalid
   * @throws FST_ERR_MAINTENANCE_STORE if the store failed
   */
  history(options?: { limit?: number }): Promise<HistoryEntry[]>
}

/** How a store writes a record. */
export interface WriteOptions {
  /** The revision of the record to write. */
  revision: number
  /**
   * The write must be rejected unless this is the revision of the stored record; 0: unless nothing is stored.
   * @default any; the record is written whatever is stored
   */
  expectedRevision?: number | undefined
  /**
   * `true` if the write must not appear in the history, because it only renews a lease.
   * @default false
   */
  skipHistory?: boolean | undefined
}

/**
 * Stores the state of sites. Records are opaque strings: a store never has to parse them. Run the tests of
 * `fastify-maintenance/store-contract` on a store of your own.
 */
export interface MaintenanceStore {
  /** Returns the stored record exactly as it was written, or `null` if none was. */
  read (site: string): Promise<string | null>
  /**
   * Stores the record and its revision. Comparing `options.expectedRevision` and writing must be one atomic step: of
   * several concurrent writes that expect the same revision, exactly one may succeed.
   * @throws an error with the code `FST_ERR_MAINTENANCE_CONFLICT` if the stored revision isn't the expected one; any
   * other error means that nothing was written, unless its code is `FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN`
   */
  write (site: string, record: string, options: WriteOptions): Promise<void>
  /**
   * Calls `onChange` when a record may have changed, with the site if it is known. A call is only a hint: it may be
   * lost, late or wrong, because the store is also polled. If a promise is returned, it settles once the store is
   * watched.
   */
  watch (onChange: (site?: string) => void): void | Promise<void>
  /** Stops watching and releases all resources. May be called twice. */
  close (): void | Promise<void>
  /** Adds an entry to the history of a site. Leave it out if `write` already does so, or if there is no history. */
  appendHistory? (site: string, entry: string): Promise<void>
  /** Lists the last records, newest first. Without it, `history()` only knows the changes of its own process. */
  listHistory? (site: string, limit: number): Promise<string[]>
  /**
   * Keeps the entry of a server for `ttl` milliseconds and replaces its previous one; a `ttl` of 0 removes it. Without
   * `heartbeat` and `heartbeats`, `servers()` only knows its own process, and nobody can `wait`.
   * @returns `true` if there was no entry of this server, if the store knows: then it may have lost those of others,
   * too
   */
  heartbeat? (server: string, entry: string, ttl: number): Promise<boolean | void>
  /** Lists the entries that have not expired. Required if there is `heartbeat`. */
  heartbeats? (): Promise<string[]>
  /** Returns the record of every stored site. Without it, the command cannot name the sites that are stored. */
  readAll? (): Promise<Map<string, string>>
  /**
   * Returns the time by the store's clock, in milliseconds since 1970. Without it, the clock of this process is used.
   */
  now? (): number
}

/**
 * A client of ioredis 5.3 or later, ioredis 6 or iovalkey, including a Cluster or Sentinel client and the
 * `fastify.redis` of `@fastify/redis`. The plugin works on connections of its own, which it creates with `duplicate()`;
 * each uses the credentials that the options of the client have at that moment.
 */
export interface RedisClient {
  /** Creates a new client with the same options. */
  duplicate (...overrides: never[]): unknown
}

/** What every store can have. */
export interface StoreExtras {
  /**
   * The path of a file that keeps the last known state, for boots while the store is unreachable.
   * @default none
   */
  mirror?: string | undefined
  /**
   * How often the state is read without a notification: milliseconds or a duration, from 100 ms to an hour.
   * @default '5s' for Redis, PostgreSQL and your own; '1s' for a file and other databases
   */
  pollInterval?: number | string | undefined
}

/** Keeps the state in a file. */
export interface FileStoreOptions extends StoreExtras {
  /** The path of the file. */
  file: string
}

/** Keeps the state in a store of your own, with a `mirror` or a `pollInterval`. */
export interface CustomStoreOptions extends StoreExtras {
  /** The store. */
  custom: MaintenanceStore
}

/** The database and its dialect of SQL: `'mysql'` is also MariaDB. */
export type SqlDialect = 'postgres' | 'mysql' | 'sqlite'

/**
 * Runs one statement and resolves with its rows, or with whatever the driver returns. For MySQL and MariaDB, the result
 * of a write must say how many rows it affected: as a number, or as `affectedRows`.
 * @param text the statement, with `$1` as placeholders for PostgreSQL, otherwise `?`
 */
export type SqlQuery = (text: string, values: readonly unknown[]) => unknown

/** How a SQL database is reached: either by a `client`, or by a function `query` and its `dialect`. */
export interface SqlOptions {
  /**
   * An address (`postgres://`, `mysql://`, `mariadb://` or `sqlite:PATH`), a pool of `pg` or `mysql2`, `fastify.pg`,
   * `fastify.mysql`, knex, or a database of `better-sqlite3` or `node:sqlite`. By an address or a pool of `pg`, the
   * plugin makes connections of its own.
   */
  client?: string | object | undefined
  /** For any other client: runs one statement. */
  query?: SqlQuery | undefined
  /** The dialect of `query`. */
  dialect?: SqlDialect | undefined
  /**
   * The name of the table, if need be with a schema before it: `'ops.maintenance'`. Two more tables have names that
   * begin with it.
   * @default 'maintenance'
   */
  table?: string | undefined
  /**
   * Whether missing tables are created.
   * @default true for an address, otherwise false: booting fails with the SQL to run
   */
  createTables?: boolean | undefined
}

/** Keeps the state in a SQL database. */
export interface SqlStoreOptions extends StoreExtras {
  /** An address, or how the database is reached. */
  sql: string | SqlOptions
}

/** Keeps the state in Redis. */
export interface RedisStoreOptions extends StoreExtras {
  /**
   * A client, an address (`redis://` or `rediss://`), or the options of an ioredis client. Options may have a `url`, as
   * those of `@fastify/redis`. Their `username`, `password`, `sentinelUsername` and `sentinelPassword` may be
   * functions, which are called before each connection is made.
   * @throws FST_ERR_MAINTENANCE_OPTION for anything else, such as a client of the package `redis`
   */
  redis: RedisClient | string | object
  /**
   * The prefix of all keys and channels, at most 200 characters.
   * @default 'fastify-maintenance:'
   */
  prefix?: string | undefined
}

/** What a change did. A `'run'` has two entries: one when it starts, and one when it ends. */
export type ChangeKind = 'closed' | 'opened' | 'changed' | 'planned' | 'cancelled' | 'run'

/** One change in the history of a site. Values that are not set are `null`. */
export interface HistoryEntry {
  /** The revision that the change created. */
  readonly revision: number
  /** What the change did. */
  readonly kind: ChangeKind
  /** The id of the window that was added, changed or removed; `null` if it was none or several. */
  readonly window: string | null
  /** `true` at the end of a run. */
  readonly ended: boolean
  /** How the site treats requests during that window. */
  readonly mode: Mode | null
  /** The message for visitors. */
  readonly message: Message | null
  /** When that window starts, as an ISO 8601 string in UTC. */
  readonly startsAt: string | null
  /** When that window ends, as an ISO 8601 string in UTC. */
  readonly endsAt: string | null
  /** Who made the change. */
  readonly by: string | null
  /** When the change was made, as an ISO 8601 string in UTC. */
  readonly at: string
}

/** The format of a blocked answer. */
export type ResponseType = 'html' | 'json' | 'text'

/** What templates and `response.json` get. Times are ISO 8601 strings in UTC; values that are not set are `null`. */
export interface TemplateVariables {
  /** The message for visitors, in their language. */
  readonly message: string
  /** `'read-only'` if reads pass, else `'full'`. */
  readonly mode: 'full' | 'read-only'
  /** The name of the site. */
  readonly site: string
  /** When the site closed. */
  readonly startsAt: string | null
  /** When it is expected back. */
  readonly endsAt: string | null
  /** The `Retry-After` header, in seconds, at the time of rendering. */
  readonly retryAfter: number | null
  /** The status code of the answer. */
  readonly statusCode: number
}

/** The words of the bundled page that depend on the mode. */
export interface PageWords {
  /** The heading, and the title of the document. */
  readonly title?: string | undefined
  /** Shown if the operator wrote no message; the English one is also the message in JSON and text. */
  readonly message?: string | undefined
  /** Stands before the expected end. */
  readonly expected?: string | undefined
  /** Shown if no end is known. */
  readonly later?: string | undefined
}

/**
 * The words of the bundled page in one language. What is missing is taken from the bundled words, else it is English.
 */
export interface PageTexts extends PageWords {
  /** Shown while the page checks automatically. */
  readonly waiting?: string | undefined
  /** Shown if the site is back, but not this page. */
  readonly back?: string | undefined
  /** The link to the home page. */
  readonly home?: string | undefined
  /** Shown if JavaScript is off. */
  readonly noScript?: string | undefined
  /** The link that loads the page again. */
  readonly retry?: string | undefined
  /** What the page says instead in read-only mode. */
  readonly 'read-only'?: PageWords | undefined
  /** What the page says instead to requests whose hold timed out (`mode: 'hold'`). */
  readonly hold?: PageWords | undefined
}

/** What makes the bundled page look like the application's own. */
export interface PageBrand {
  /** The name of the application, above the heading. */
  readonly name?: string | undefined
  /** A logo: an SVG document (`'<svg …'`), or a `data:` URL of an image; at most 100,000 characters. */
  readonly logo?: string | undefined
  /** The colour of the line above the page and of the browser's bar, such as `'#1f5fbf'`. */
  readonly color?: string | undefined
}

/** What blocked requests get. */
export interface ResponseOptions {
  /**
   * The status code, from 200 to 599.
   * @default 503
   */
  statusCode?: number | undefined
  /**
   * The `Retry-After` header, in seconds, from 1 to 31536000; `false` sends none. A known end of the window takes
   * precedence.
   * @default 300
   */
  retryAfter?: number | false | undefined
  /**
   * The format of the body, or a function that picks it for each request. `'auto'` negotiates it by `Accept`.
   * @default 'auto'
   */
  type?: ('auto' | ResponseType | ((request: FastifyRequest) => ResponseType)) | undefined
  /**
   * A template for your own `@fastify/view`; if the application has none, the path of an Eta file.
   * @default the bundled page
   */
  template?: string | undefined
  /**
   * Additional variables for the template. A function is called for each blocked page, which is then rendered again.
   */
  data?: (object | ((request: FastifyRequest) => object | Promise<object>)) | undefined
  /**
   * Makes the JSON body in your application's own shape. It is called at boot, and whenever the state changes, for each
   * language of the message; `set()` rejects if it throws, or returns a promise or something that is no object.
   * `application/problem+json` stays as it is.
   * @default the standard body
   * @example ({ message, endsAt }) => ({ errors: [{ code: 'maintenance', title: message, until: endsAt }] })
   */
  json?: ((state: TemplateVariables) => object) | undefined
  /**
   * The words of the bundled page, by language tag. Only name what you want to change; further languages are welcome.
   * @default the bundled words
   * @example { de: { title: 'Kurze Pause' }, da: { title: 'Vedligeholdelse' } }
   */
  texts?: { readonly [language: string]: PageTexts | undefined } | undefined
  /**
   * The application's name, logo and colour, for the bundled page.
   * @default {}
   */
  brand?: PageBrand | undefined
  /**
   * A local path or an absolute URL, to which browsers that open a page are redirected. A local path is let through if
   * a route answers it; if none does, visitors get the page where they are.
   * @default none
   */
  redirect?: string | undefined
  /**
   * The `Refresh` header of HTML pages, in seconds, from 1 to 31536000.
   * @default none
   */
  refresh?: number | undefined
  /**
   * Additional headers for every blocked request.
   * @default {}
   */
  headers?: Record<string, string> | undefined
}

/** Requests that are let through while the site is closed. */
export interface IgnoreOptions {
  /**
   * Routes to let through, in addition to `/robots.txt`: `'/x'` is that path, `'/x/*'` everything below it. A regular
   * expression is matched against the path.
   * @default []
   */
  routes?: string | RegExp | (string | RegExp)[] | undefined
  /**
   * Addresses and CIDR blocks, compared with `request.ip`.
   * @default []
   * @example ['192.0.2.7', '10.0.0.0/8', '2001:db8::/32']
   */
  ips?: string | string[] | undefined
  /**
   * Decides last, and only while the site is closed. The request is blocked if the function throws, or doesn't settle
   * within 3 seconds.
   */
  request?: ((request: FastifyRequest) => boolean | Promise<boolean>) | undefined
}

/** Lets testers in who know the secret of the window. */
export interface BypassOptions {
  /**
   * The path of the page that exchanges the secret for a cookie, below the prefix of the plugin.
   * @default '/maintenance/bypass'
   */
  path?: string | undefined
  /**
   * A secret that all servers share, from 32 to 1000 characters. With it, read access to the store is not enough to
   * forge a cookie.
   */
  key?: string | undefined
  /**
   * How long a cookie is valid, in seconds.
   * @default 43200 (12 hours)
   */
  ttl?: number | undefined
  /**
   * The name of the cookie. Over HTTPS, it is prefixed with `__Host-`.
   * @default 'maintenance'
   */
  cookie?: string | undefined
}

/**
 * A recurring window.
 * @example { cron: '0 1 * * sun', duration: '2h', timeZone: 'Europe/Berlin' }
 */
export interface ScheduleOptions {
  /** When the window starts: a cron pattern of five fields, or of six with seconds first. */
  cron: string
  /** How long the window lasts: milliseconds or a duration such as `'90s'`, `'30m'`, `'1h30m'` or `'2d'`. */
  duration: number | string
  /**
   * The IANA name of the time zone of `cron`.
   * @default the time zone of the process
   */
  timeZone?: string | undefined
  /**
   * How the closed site treats requests.
   * @default 'full'
   */
  mode?: Mode | undefined
  /**
   * The message for visitors, at most 10,000 characters, or one per language.
   * @default none
   */
  message?: Message | undefined
}

/** Limits for requests that wait (`mode: 'hold'`). */
export interface HoldOptions {
  /**
   * How many requests may wait, from 1 to 1000000. Further ones are blocked at once.
   * @default 1000
   */
  max?: number | undefined
  /**
   * How long a request waits before it is blocked: milliseconds or a duration such as `'10s'`, up to 10 minutes.
   * @default '10s'
   */
  timeout?: number | string | undefined
}

/** When to end WebSockets and event streams after the site has closed. */
export interface CloseStreamsOptions {
  /**
   * How long after closing: milliseconds or a duration such as `'5s'`, up to an hour.
   * @default '5s'
   */
  after?: number | string | undefined
  /**
   * The period over which they are spread at random, so that clients don't all reconnect at once: milliseconds or a
   * duration, up to an hour.
   * @default '2s'
   */
  jitter?: number | string | undefined
}

/** When a server that others cannot see closes itself. */
export interface FenceOptions {
  /**
   * After this time without an accepted heartbeat: milliseconds or a duration, from 1 second to less than 15.
   * @default '12s'
   */
  after?: number | string | undefined
}

/** The options of the plugin. All are optional. */
export interface FastifyMaintenanceOptions {
  /**
   * `'open'` or `'closed'` on this server, whatever the state says. `set()`, `update()`, `cancel()` and `run()` then
   * reject with `FST_ERR_MAINTENANCE_PINNED`.
   */
  pinned?: 'open' | 'closed' | undefined
  /**
   * The name of this server's site, or a function that returns the site of a request. A function requires `sites`.
   * @default 'default'
   */
  site?: (string | ((request: FastifyRequest) => string)) | undefined
  /**
   * All sites that this server serves.
   * @default this server's own site
   */
  sites?: string | string[] | undefined
  /**
   * Where the state is kept. `'memory'` keeps it in this process only. To share it, use an address (`'redis://…'`,
   * `'rediss://…'`, `'postgres://…'`, `'mysql://…'`, `'sqlite:PATH'`, `'file:PATH'`), the options of a store, or a
   * store of your own.
   * @default 'memory'
   */
  store?:
    string | FileStoreOptions | RedisStoreOptions | SqlStoreOptions | CustomStoreOptions | MaintenanceStore | undefined
  /**
   * Whether sites are open or closed until their state has been read once, if the store has been unreachable since
   * boot.
   * @default 'open'
   */
  whenUnknown?: 'open' | 'closed' | undefined
  /**
   * Closes this server when it has lost contact to the store, before other servers call it lost. Then a lost server is
   * a closed one, and `wait` can succeed without it. Its price: losing the store closes the site.
   * @default it stays as it is
   */
  fence?: FenceOptions | undefined
  /** Which requests are let through while the site is closed. */
  ignore?: IgnoreOptions | undefined
  /**
   * A path, below the prefix of the plugin, at which every client can read the state as JSON, from any origin: see
   * {@link PublicStatus}. It is never blocked.
   * @default none
   * @example '/maintenance/status'
   */
  publicStatus?: string | undefined
  /**
   * How long before a window starts responses carry the header `Maintenance-Upcoming: START/END; mode=MODE`, with ISO
   * 8601 times and `..` for an unknown end: milliseconds or a duration such as `'2h'`, up to a year.
   * @default never
   */
  announce?: number | string | undefined
  /** What blocked requests get. */
  response?: ResponseOptions | undefined
  /**
   * Lets testers in who know the secret of the window. `{}` is enough.
   * @default nobody
   */
  bypass?: BypassOptions | undefined
  /**
   * Recurring windows. `set(false)` ends the current one; the next one closes the site again.
   * @default []
   */
  schedule?: ScheduleOptions | ScheduleOptions[] | undefined
  /** Limits for requests that wait (`mode: 'hold'`). */
  hold?: HoldOptions | undefined
  /**
   * Ends WebSockets (with code 1012) and event streams that were opened before the site closed.
   * @default they stay open
   */
  closeStreams?: CloseStreamsOptions | undefined
  /**
   * Called before a blocked request is answered, for example to log the user out. It may answer itself (`reply.send()`,
   * `reply.redirect()`, `reply.hijack()`, `reply.raw.end()`); then ours is not sent. It is awaited for at most 3
   * seconds, and errors are logged.
   */
  onBlocked?: ((request: FastifyRequest, reply: FastifyReply) => void | Promise<void>) | undefined
  /** Called when the state changes, and when a window starts or ends. */
  onChange?: ChangeListener | undefined
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
    readonly maintenance: RequestMaintenance
  }
  interface FastifyContextConfig {
    /** `'off'`: never blocked; `'on'`: always blocked; `'read'`, `'write'`: what the route does in read-only mode. */
    maintenance?: RouteMaintenance
  }
}
