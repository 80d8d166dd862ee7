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
  addRoutes(fastify, { guard: createGuard(settings.authorize), page, events })
  fastify.addHook('preClose', async () => events.close())
}

/**
 * The admin page: `fastify.register(maintenanceAdmin, { prefix: '/maintenance', authorize })`, after fastify-maintenance.
 * @throws FST_ERR_MAINTENANCE_OPTION while registering, where an option is wrong or `authorize` is missing
 */
export const fastifyMaintenanceAdmin: FastifyMaintenanceAdmin = fp(maintenanceAdmin, {
  fastify: '5.x', name: 'fastify-maintenance-admin', encapsulate: true, dependencies: ['fastify-maintenance']
})
export default fastifyMaintenanceAdmin

/** The words of the page in English and German, to be changed or added to. */
export const adminTexts: { readonly en: AdminTexts, readonly de: AdminTexts } = TEXTS

// dist/ is CommonJS, where `require` gives the plugin itself; it has `default` and its name from fastify-plugin
/* c8 ignore next */
if (typeof module === 'object') module.exports = Object.assign(fastifyMaintenanceAdmin, { adminTexts })

export type * from '../../types/admin.ts'
