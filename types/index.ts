import type { FastifyBaseLogger, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'

/** `full` refuses every request; `read-only` lets reads through; `hold` keeps them waiting for a while. */
export type Mode = 'full' | 'read-only' | 'hold'

/** A window that is still ahead; times are ISO strings. */
export interface Upcoming {
  readonly startsAt: string
  readonly endsAt: string | null
  readonly mode: Mode
  readonly message: string | null
}

/** What a route declares in `config.maintenance`. */
export type RouteMaintenance = 'off' | 'on' | 'read' | 'write'

/** Why a request was let through or refused: the rows of the precedence, first match wins. */
export type Reason =
  | 'route-off' | 'route-on' | 'inactive' | 'preflight' | 'ignored-route' | 'ignored-ip'
  | 'bypass' | 'ignored-request' | 'read' | 'active'

/** The gate's answer for one request. */
export interface Decision {
  readonly blocked: boolean
  readonly reason: Reason
  /** `null` where the `site` function named no known site. */
  readonly site: string | null
  readonly active: boolean
  /** `null` while not active. */
  readonly mode: Mode | null
  /** The next window that is announced or scheduled: for a banner. */
  readonly upcoming: Upcoming | null
}

/** Where the state of a site comes from. */
export type Source = 'pinned' | 'store' | 'mirror' | 'fallback' | 'unreadable'

export interface IgnoredRoute {
  readonly pattern: string
  readonly description: string | null
}

/** What `set(true, change)` accepts. What is not named falls back to its default: a record is whole. */
export interface MaintenanceChange {
  /** Shown to visitors, escaped. */
  message?: string
  /** Default `'full'`. */
  mode?: Mode
  /** A `Date`, or ISO 8601 with a zone. Default: at once. */
  startsAt?: Date | string
  /** A `Date`, or ISO 8601 with a zone; in the future, after the start. Default: until `set(false)`. */
  endsAt?: Date | string
  /** Seconds, 1 to 31536000. Default: the option `response.retryAfter`; a known end wins over both. */
  retryAfter?: number
  /** Routes let through on top of the option `ignore.routes`. */
  ignoreRoutes?: (string | { pattern: string, description?: string | null })[]
  /**
   * `true` makes a fresh secret, and voids the one before; `false` voids it. Default: the window's secret stays as it is.
   * The option `bypass` must be there.
   */
  bypass?: boolean
  /** Who changes it, for the log and the status. */
  by?: string
  /** Refuse the change unless this is still the stored revision (0: never written). */
  expectedRevision?: number
}

export interface WaitOptions {
  /**
   * ms, 1 to an hour: settle only when every live server of the site has taken the state over, and, where it closes the
   * site, when no request from before is still running on any. What is pinned by `enabled` is not waited for. When the time is over it
   * rejects with `FST_ERR_MAINTENANCE_DRAIN`, and the change stands. Default: do not wait.
   */
  wait?: number
}

export interface DrainOptions {
  /** ms. Default: none. */
  timeout?: number
  signal?: AbortSignal
}

/** What an error of code `FST_ERR_MAINTENANCE_DRAIN` carries. */
export interface StillRunning {
  /** Requests that are still running. */
  readonly inFlight: number
  /** The same by method and route, such as `{ 'GET /export': 2 }`. */
  readonly routes: Readonly<Record<string, number>>
  /** Where all servers were waited for: those that are not ready. */
  readonly servers?: readonly ServerStatus[]
}

export interface RunOptions {
  /**
   * ms, 1000 to a day: the site opens by itself when the process that works is gone for so long. Without it, a
   * killed process leaves the site closed until someone opens it.
   */
  lease?: number
}

/** What is known of a site's state; times are ISO strings, unset values `null`. */
export interface SiteState {
  site: string
  on: boolean
  /** Blocks at this moment: on, and inside its window. */
  active: boolean
  mode: Mode
  message: string | null
  startsAt: string | null
  endsAt: string | null
  /** Seconds. */
  retryAfter: number | null
  ignoreRoutes: IgnoredRoute[]
  by: string | null
  /** When this state was written. */
  since: string | null
  /** 0: never written. */
  revision: number
  /** The next window that is announced or scheduled. */
  upcoming: Upcoming | null
}

export interface StoreStatus {
  kind: 'memory' | 'file' | 'redis' | 'custom'
  connected: boolean
  lastReadAt: string | null
  /** The last problem with the store, until it is over. */
  error: string | null
}

export interface MaintenanceStatus extends SiteState {
  source: Source
  store: StoreStatus
  /** Of this server, since it started. `ignored` counts requests let through while closed. */
  counts: { blocked: number, ignored: number, wrongSecrets: number }
  /** Requests that wait at this moment (`mode: 'hold'`). */
  held: number
  /** Requests that were let in as `inactive` or `read` and have not ended, on this server. */
  inFlight: number
  /** Of the same kind, but upgraded connections and event streams: they may last for ever, and hold no drain. */
  streams: number
  /** Only in what `set(true, { bypass: true })` returns, and only once. */
  bypass?: Bypass
}

export interface Bypass {
  secret: string
  /** With the secret in its fragment, where no log, proxy or Referer sees it. */
  path: string
}

/** One server of a site, as it told the store last. */
export interface ServerStatus {
  /** Of this start of this process. */
  id: string
  host: string
  pid: number
  /** Of fastify-maintenance. */
  version: string
  site: string
  /** Of the state that it applies. */
  revision: number
  active: boolean
  /** The option `enabled` decides, whatever the state says. */
  pinned: boolean
  inFlight: number
  streams: number
  /** Of `inFlight`, by method and route, those that were let in before the state that it applies: `{ 'GET /export': 2 }`. */
  holding: Record<string, number>
  startedAt: string
  /** By the clock of the store, where it has one. */
  seenAt: string
}

export type ChangeListener = (status: MaintenanceStatus, previous: MaintenanceStatus) => void

/**
 * What hangs at `fastify.maintenance`. With a `site` function there is no site of one's own:
 * every member but `for` and `sites` then throws `FST_ERR_MAINTENANCE_SITE`.
 */
export interface Maintenance {
  /** Does it block at this moment (window counted in)? */
  readonly active: boolean
  /** From memory, never waits. */
  status (): MaintenanceStatus
  /**
   * Writes the store, then this server. Settles within 2 s; when it rejects, nothing changed here.
   * With `false`, only `by` and `expectedRevision` can be named.
   * @throws FST_ERR_MAINTENANCE_CHANGE, _PINNED, _CONFLICT, _STORE, _STORE_UNKNOWN; with `wait`, _DRAIN
   */
  set (on: boolean, change?: MaintenanceChange & WaitOptions): Promise<MaintenanceStatus>
  /**
   * Closes the site, does the work, opens the site again, also when the work throws.
   * Overlapping runs are counted: the site opens when the last one ends. What someone else
   * `set` meanwhile stands. With `wait`, the work begins when all servers are ready; where they are not in time, it is
   * not begun, and the site opens again.
   */
  run<T> (work: () => T | Promise<T>, change?: MaintenanceChange & RunOptions & WaitOptions): Promise<T>
  /** The same for another site. @throws FST_ERR_MAINTENANCE_SITE for an unknown name */
  for (site: string): Maintenance
  /** Every site of this server. */
  readonly sites: string[]
  /** Reads the store again now; what went wrong stands in `status().store`. */
  refresh (): Promise<MaintenanceStatus>
  /** What the gate says of this request now (`ignore.request` left out). */
  explain (request: FastifyRequest): Decision
  /**
   * Called for every new record adopted, and when a window starts or ends.
   * A listener that throws is logged and harms nobody. Returns the way to remove it.
   */
  onChange (listener: ChangeListener): () => void
  /**
   * Resolves when no request that was let in as `inactive` or `read` is still running on this server (streams apart); reads
   * that a read-only site lets in after the call are not waited for.
   * @throws FST_ERR_MAINTENANCE_DRAIN when the time is over, or the site was opened meanwhile (see `StillRunning`)
   */
  drained (options?: DrainOptions): Promise<void>
  /** Every live server of the site; one that died is gone after 15 s. @throws FST_ERR_MAINTENANCE_STORE */
  servers (): Promise<ServerStatus[]>
  /** The last written records, newest first; default limit 100. @throws FST_ERR_MAINTENANCE_STORE */
  history (options?: { limit?: number }): Promise<HistoryEntry[]>
}

/** A conflict is told by rejecting with an error of code `FST_ERR_MAINTENANCE_CONFLICT`. */
export interface WriteCondition {
  /** The revision of the record to be written. */
  revision: number
  /**
   * Write only if this is the revision of what is stored now; 0: only if nothing is stored.
   * Absent: write whatever is stored.
   */
  expected?: number
  /** No transition, but the renewal of a lease: not for the history. */
  quiet?: boolean
}

/** Where records live. A store moves opaque strings and knows nothing of maintenance. */
export interface MaintenanceStore {
  /** The stored record, or `null` where none was ever written. */
  read (site: string): Promise<string | null>
  write (site: string, record: string, condition: WriteCondition): Promise<void>
  /**
   * Calls `onHint` when something may have changed, with the site where that is known. A hint is a hint: it may be
   * lost, late or wrong. A promise that it gives settles when watching has begun.
   */
  watch (onHint: (site?: string) => void): void | Promise<void>
  /** Ends watching, frees what it holds; may be called twice. */
  close (): void | Promise<void>
  /** Adds to the history of a site, where the store does not do so with each write. Optional. */
  append? (site: string, entry: string): Promise<void>
  /** The last records written, newest first. Optional: without it, `history()` knows this process only. */
  list? (site: string, limit: number): Promise<string[]>
  /** Keeps what a server tells of itself for `ttl` ms; 0: it leaves. Optional: without it and `beats`, `servers()` knows this process only. */
  beat? (site: string, id: string, entry: string, ttl: number): Promise<void>
  /** What servers told, and is not over. Optional. */
  beats? (site: string): Promise<string[]>
  /** The store's clock as last seen, ms since 1970. Optional: without it, the clock of this process counts. */
  now? (): number
}

/**
 * A client of ioredis 5.3 or later, ioredis 6 or iovalkey, a Cluster or Sentinel client included; `fastify.redis` of `@fastify/redis` is one.
 * The plugin works on connections of its own, made by `duplicate()`. Each is made with the credentials that the client's options have by then.
 */
export interface RedisClient {
  duplicate (...overrides: never[]): unknown
}

export interface RedisStoreOptions {
  /**
   * A client, an address (`redis://`, `rediss://`), or options of ioredis. They may have a `url`, as those of `@fastify/redis`; their
   * `username`, `password`, `sentinelUsername` and `sentinelPassword` may be functions, called before each connection is made.
   * @throws FST_ERR_MAINTENANCE_OPTION if it is anything else, such as a client of the package `redis`
   */
  redis: RedisClient | string | object
  /** Before every key and channel; default `'fastify-maintenance:'`. */
  prefix?: string
  /** A file that keeps the last known state, for boots while Redis is away. */
  mirror?: string
  /** How often the state is read without a hint, ms; default 5000. */
  pollInterval?: number
}

/** One written record, as `history()` gives it. */
export interface HistoryEntry {
  revision: number
  on: boolean
  mode: Mode
  message: string | null
  startsAt: string | null
  endsAt: string | null
  by: string | null
  at: string
}

export type ResponseType = 'html' | 'json' | 'text'

export interface ResponseOptions {
  /** 200 to 599, default 503. */
  statusCode?: number
  /** Seconds, 1 to 31536000, or false; default 300. A known end of the window wins. */
  retryAfter?: number | false
  /** Default `'auto'`: negotiated by `Accept`. */
  type?: 'auto' | ResponseType | ((request: FastifyRequest) => ResponseType)
  /**
   * A template of the application's own `@fastify/view`, or, where it has none, the path of a file in Eta.
   * Default: the bundled page.
   */
  template?: string
  /** More variables for the template; a function is asked for each refused page, which is then rendered anew. */
  data?: object | ((request: FastifyRequest) => object | Promise<object>)
  /** A local path or an absolute URL: who navigates to an HTML page is sent there instead. */
  redirect?: string
  /** Seconds: sends a `Refresh` header with HTML. Default: none. */
  refresh?: number
  /** More headers for every refusal. */
  headers?: Record<string, string>
}

export interface IgnoreOptions {
  /** `'/x'` is that path, `'/x/*'` all below it; added to the built-in `/robots.txt`. */
  routes?: string | RegExp | (string | RegExp)[]
  /** Addresses and CIDR blocks, compared with `request.ip`. */
  ips?: string | string[]
  /** Asked last, and only while closed. Throwing, or not settling in 3 s, refuses. */
  request?: (request: FastifyRequest) => boolean | Promise<boolean>
}

export interface BypassOptions {
  /** Where a secret is turned into a cookie, under the prefix of where the plugin is registered. Default `'/maintenance/bypass'`. */
  path?: string
  /**
   * A secret of the whole fleet, at least 32 characters: with it, nobody can make a cookie who can only read the store.
   */
  key?: string
  /** How long a cookie is good, seconds. Default 43200 (12 hours). */
  ttl?: number
  /** Its name; over https, `__Host-` stands before it. Default `'maintenance'`. */
  cookie?: string
}

export interface ScheduleOptions {
  /** When it starts: five fields (or six, with seconds first), such as `'0 1 * * sun'`. */
  cron: string
  /** How long it lasts, such as `'1h'`, `'90m'` or `'1h30m'`. */
  duration: string
  /** An IANA name such as `'Europe/Berlin'`. Default: the time zone of the process. */
  timeZone?: string
  /** Default `'full'`. */
  mode?: Mode
  message?: string
}

export interface HoldOptions {
  /** How many requests wait at most; the next one is refused at once. Default 1000. */
  max?: number
  /** How long one waits before it is refused, ms. Default 10000. */
  timeout?: number
}

export interface CloseStreamsOptions {
  /** How long after the site has closed, ms. Default 5000. */
  after?: number
  /** Spread over so long, so that clients do not all come back at once, ms. Default 2000. */
  jitter?: number
}

export interface FastifyMaintenanceOptions {
  /** Pins the mode: it outranks the store, and `set()` and `run()` then reject. */
  enabled?: boolean
  /** The site of this server, default `'default'`; or a function, together with `sites`. */
  site?: string | ((request: FastifyRequest) => string)
  sites?: string | string[]
  /** `'memory'`, an address (`'redis://…'`, `'rediss://…'`, `'file:PATH'`), or an object. Default `'memory'`. */
  store?: string | { file: string } | RedisStoreOptions | MaintenanceStore
  /** On or off while the state was never known (store unreachable since boot). Default false. */
  fallback?: boolean
  ignore?: IgnoreOptions
  response?: ResponseOptions
  /** Lets testers in who know the secret of the window. Default: nobody. */
  bypass?: BypassOptions
  /** Recurring windows. A state that an operator sets outranks them until it is switched off. */
  schedule?: ScheduleOptions | ScheduleOptions[]
  /** What `mode: 'hold'` may keep waiting. */
  hold?: HoldOptions
  /** Ends WebSockets (1012) and event streams from before the site closed. Default: they stay. */
  closeStreams?: CloseStreamsOptions
  /**
   * Called before a blocked request is answered, and never for requests that are let through: to log the user out, say.
   * It may answer itself (`reply.send()`, `reply.redirect()`, `reply.hijack()`, `reply.raw.end()`); then ours is not sent.
   * What it throws is logged. It is waited for, at most 3 s.
   */
  onBlocked?: (request: FastifyRequest, reply: FastifyReply) => void | Promise<void>
  onChange?: ChangeListener
}

/** Without an error it lets the request in. A second argument must be `true` or the user's name. */
export type AdminAuthorizeDone = (error?: unknown, name?: string | boolean | null) => void

/** What `authorize` may return; only `true` and a name let the request in. */
export type AdminAnswer = boolean | string | void | FastifyReply

/** `fastify.register(maintenanceAdmin, options)` */
export type FastifyMaintenanceAdmin = FastifyPluginAsync<FastifyMaintenanceAdminOptions>

/** `fastify.register(maintenance, options)` */
export type FastifyMaintenance = FastifyPluginAsync<FastifyMaintenanceOptions>

/** The words of the admin page in one language; `adminTexts` has them in English and German. */
export interface AdminTexts extends Readonly<Record<AdminText, string>> {}

export type AdminText =
  | 'title' | 'live' | 'lost' | 'noScript' | 'sites'
  | 'open' | 'closed' | 'read-only' | 'hold' | 'announced'
  | 'openHint' | 'closedHint' | 'read-onlyHint' | 'holdHint' | 'announcedHint'
  | 'since' | 'by' | 'from' | 'until' | 'noEnd'
  | 'openSite' | 'closeSite' | 'save' | 'cancel' | 'closeHead' | 'changeHead'
  | 'message' | 'messageHint' | 'mode' | 'fullMode' | 'fullModeHint' | 'read-onlyMode' | 'read-onlyModeHint' | 'holdMode' | 'holdModeHint'
  | 'startsAt' | 'startsAtHint' | 'endsAt' | 'endsAtHint' | 'retryAfter' | 'retryAfterHint'
  | 'ignoreRoutes' | 'ignoreRoutesHint' | 'path' | 'description' | 'add' | 'remove'
  | 'bypass' | 'bypassHint' | 'bypassNone' | 'bypassKeep' | 'bypassMake' | 'bypassEnd' | 'bypassMade' | 'copy' | 'copied'
  | 'upcoming' | 'noUpcoming' | 'servers' | 'upToDate' | 'behind' | 'pinned' | 'running' | 'streams' | 'revision'
  | 'history' | 'noHistory' | 'opened' | 'unknown'
  | 'pinnedHint' | 'storeProblem' | 'unreadable' | 'mirror' | 'fallback'
  | 'problem' | 'wrongFields' | 'conflict' | 'conflictHint' | 'stale' | 'failed' | 'formExpired'
  | 'wrongMessage' | 'wrongTime' | 'wrongRetryAfter' | 'wrongRoute' | 'wrongOther'

/** `fastify.register(maintenanceAdmin, options)` */
export interface FastifyMaintenanceAdminOptions {
  /** Fastify's: where the page is, such as `'/maintenance'`. */
  prefix?: string
  /**
   * Called for every request to the page and its addresses. Only `true` or the user's name (a string that is not blank; it becomes `by`)
   * lets a request in; it may also reply, or throw an error with a 4xx status. Everything else is a 403, and so is no answer within 10 s.
   * A function with three parameters is called with `done`, as Fastify calls a hook: `app.basicAuth` and `app.auth([…])` work.
   */
  authorize: (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply, done: AdminAuthorizeDone) => AdminAnswer | Promise<AdminAnswer>
  /** The words by language, such as `{ ...adminTexts, fr }`; the first is for whoever wants another one. Default: English and German. */
  texts?: Readonly<Record<string, AdminTexts>>
}

/** The part of Fastify's logger that the plugin writes to. */
export type Log = Pick<FastifyBaseLogger, 'info' | 'warn' | 'error'>

declare module 'fastify' {
  interface FastifyInstance {
    maintenance: Maintenance
  }
  interface FastifyRequest {
    /** What the gate decided when this request arrived. */
    readonly maintenance: Decision
  }
  interface FastifyContextConfig {
    /** `'off'`: never refused; `'on'`: always refused; `'read'`, `'write'`: what it does in read-only mode. */
    maintenance?: RouteMaintenance
    /** Marks the plugin's own pages. @internal */
    maintenancePage?: boolean
  }
}
