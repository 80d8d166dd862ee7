import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
// for `fastify.maintenance`
import type {} from './index.ts'

/** The texts of the admin page in one language. `adminTexts` has them in English and German. */
export interface AdminTexts extends Readonly<Record<AdminText, string>> {}

/** The name of one text of the admin page. */
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

/** The options of the admin page. */
export interface FastifyMaintenanceAdminOptions {
  /**
   * Where the page is, such as `'/maintenance'`. Fastify adds the prefix.
   * @default none; the page is at the root of the instance
   */
  prefix?: string
  /**
   * Called for every request to the page, before its body is read. Throw or reply to refuse the request, with any status
   * and body. Return a string to record who makes a change (`by`).
   * @example
   * ```ts
   * async authorize (request, reply) {
   *   const user = await findUser(request)
   *   return user?.isAdmin ? user.name : reply.code(403).send('admins only')
   * }
   * ```
   */
  authorize: (request: FastifyRequest, reply: FastifyReply) => string | void | FastifyReply | Promise<string | void | FastifyReply>
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
