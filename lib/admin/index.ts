import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { AdminTexts, FastifyMaintenanceAdmin, FastifyMaintenanceAdminOptions } from '../../types/admin.ts'
import { createEvents } from './events.ts'
import { createGuard } from './guard.ts'
import { readAdminOptions } from './options.ts'
import { createPage } from './page.ts'
import { addRoutes } from './routes.ts'
import { TEXTS } from './texts.ts'

async function maintenanceAdmin (fastify: FastifyInstance, options: FastifyMaintenanceAdminOptions): Promise<void> {
  const settings = readAdminOptions(options)
  const page = await createPage(fastify, settings)
  const events = createEvents(fastify.maintenance)
  addRoutes(fastify, { guard: createGuard(fastify, settings.authorize), page, events })
  fastify.addHook('preClose', async () => events.close())
}

/**
 * The admin page for fastify-maintenance. Register it after the plugin, usually with a `prefix`.
 * @throws FST_ERR_MAINTENANCE_OPTION while it is registered, if an option is invalid or `authorize` is missing
 */
export const fastifyMaintenanceAdmin: FastifyMaintenanceAdmin = fp(maintenanceAdmin, {
  fastify: '5.x || 6.x', name: 'fastify-maintenance-admin', encapsulate: true, dependencies: ['fastify-maintenance']
})
export default fastifyMaintenanceAdmin

/** The texts of the page in English and German, to change or to add to. */
export const adminTexts: { readonly en: AdminTexts, readonly de: AdminTexts } = TEXTS

export type * from '../../types/admin.ts'
