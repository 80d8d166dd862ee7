import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
// for `fastify.maintenance`
import type {} from './index.ts'

/** Without an error it lets the request in. A second argument must be `true` or the user's name. */
export type AdminAuthorizeDone = (error?: unknown, name?: string | boolean | null) => void

/** What `authorize` may return. Only `true` and a name let the request in. */
export type AdminAnswer = boolean | string | void | FastifyReply

/** The texts of the admin page in one language. `adminTexts` has them in English and German. */
export interface AdminTexts extends Readonly<Record<AdminText, string>> {}

/** The name of one text of the admin page. */
export type AdminText =
  | 'title' | 'live' | 'lost' | 'noScript' | 'sites' | 'open' | 'closed' | 'read-only' | 'hold' | 'announced'
  | 'openHint' | 'closedHint' | 'read-onlyHint' | 'holdHint' | 'announcedHint' | 'by' | 'from' | 'until'
  | 'noEnd' | 'openSite' | 'closeSite' | 'save' | 'closeHead' | 'changeHead' | 'message' | 'messageHint'
  | 'mode' | 'fullMode' | 'fullModeHint' | 'read-onlyMode' | 'read-onlyModeHint' | 'holdMode' | 'holdModeHint'
  | 'startsAt' | 'endsAt' | 'endsAtHint' | 'retryAfter' | 'retryAfterHint' | 'ignoreRoutes' | 'ignoreRoutesHint'
  | 'path' | 'description' | 'add' | 'remove' | 'bypass' | 'bypassHint' | 'bypassNone' | 'bypassKeep'
  | 'bypassMake' | 'bypassEnd' | 'bypassMade' | 'copy' | 'copied' | 'servers' | 'upToDate' | 'behind'
  | 'running' | 'streams' | 'history' | 'noHistory' | 'opened' | 'unknown' | 'pinnedHint' | 'storeProblem'
  | 'unreadable' | 'mirror' | 'problem' | 'wrongFields' | 'conflict' | 'conflictHint' | 'stale' | 'failed'
  | 'formExpired' | 'wrongMessage' | 'wrongTime' | 'wrongRetryAfter' | 'wrongRoute' | 'wrongOther'
  | 'closedSince' | 'changed' | 'since' | 'noRunEnd' | 'announceHead' | 'announce' | 'cancel' | 'windows'
  | 'nowKind' | 'plannedKind' | 'runKind' | 'scheduledKind' | 'id' | 'work' | 'process' | 'extend' | 'minutes'
  | 'startsAtHint' | 'ignoreIps' | 'ignoreIpsHint' | 'onlyRoutes' | 'onlyRoutesHint' | 'bypassExists'
  | 'bypassReplace' | 'lostServer' | 'stoppedServer' | 'pinnedOpen' | 'pinnedClosed' | 'draining' | 'changedEntry'
  | 'announcedEntry' | 'cancelled' | 'runStarted' | 'runEnded' | 'unknownState' | 'runningHint' | 'openAnyway'
  | 'wrongIps'

/** The options of the admin page. */
export interface FastifyMaintenanceAdminOptions {
  /**
   * Where the page is, such as `'/maintenance'`. Fastify adds the prefix.
   * @default none; the page is at the root of the instance
   */
  prefix?: string
  /**
   * Called for every request to the page and its addresses, before the body is read. Only `true` or the user's name (a
   * string that is not blank; it becomes `by`) lets a request in. It may also reply, or throw an error with a 4xx
   * status. Everything else is a 403, and so is no answer within 10 seconds. A function with three parameters is called
   * with `done`, as Fastify calls a hook: `app.basicAuth` and `app.auth([…])` work.
   * @example
   * ```ts
   * async authorize (request, reply) {
   *   const user = await findUser(request)
   *   return user?.isAdmin ? user.name : reply.code(403).send('admins only')
   * }
   * ```
   */
  authorize: (
    this: FastifyInstance, request: FastifyRequest, reply: FastifyReply, done: AdminAuthorizeDone
  ) => AdminAnswer | Promise<AdminAnswer>
  /**
   * The texts by language, such as `{ ...adminTexts, fr }`. The first language is used if the browser asks for one that
   * is missing.
   * @default adminTexts
   */
  texts?: Readonly<Record<string, AdminTexts>>
}

/**
 * The plugin that adds the admin page. Register it after fastify-maintenance.
 * @example
 * ```ts
 * import maintenanceAdmin from 'fastify-maintenance/admin'
 *
 * await app.register(maintenanceAdmin, { prefix: '/maintenance', authorize })
 * ```
 */
export type FastifyMaintenanceAdmin = FastifyPluginAsync<FastifyMaintenanceAdminOptions>
