// The declarations of `fastify-maintenance/admin`: `module.exports` is the plugin itself, and everything public is a member of it.
import type { AdminAnswer, AdminAuthorizeDone, AdminText, AdminTexts, FastifyMaintenanceAdmin, FastifyMaintenanceAdminOptions } from '../../types/admin.ts'

/**
 * The admin page for fastify-maintenance. Register it after the plugin, usually with a `prefix`.
 * @throws FST_ERR_MAINTENANCE_OPTION while it is registered, if an option is invalid or `authorize` is missing
 */
declare function fastifyMaintenanceAdmin (...parameters: Parameters<FastifyMaintenanceAdmin>): ReturnType<FastifyMaintenanceAdmin>

declare namespace fastifyMaintenanceAdmin {
  /** The texts of the page in English and German, to change or to add to. */
  const adminTexts: { readonly en: AdminTexts, readonly de: AdminTexts }
  export {
    adminTexts, fastifyMaintenanceAdmin, fastifyMaintenanceAdmin as default,
    AdminAnswer, AdminAuthorizeDone, AdminText, AdminTexts, FastifyMaintenanceAdmin, FastifyMaintenanceAdminOptions
  }
}

export = fastifyMaintenanceAdmin
