import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { FastifyMaintenanceAdminOptions } from '../../types/index.ts'
import { createEvents } from './events.ts'
import { createGuard } from './guard.ts'
import { readAdminOptions } from './options.ts'
import { createPage } from './page.ts'
import { addRoutes } from './routes.ts'

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
export const fastifyMaintenanceAdmin: FastifyPluginAsync<FastifyMaintenanceAdminOptions> = fp(maintenanceAdmin, {
  fastify: '5.x', name: 'fastify-maintenance-admin', encapsulate: true, dependencies: ['fastify-maintenance']
})
export default fastifyMaintenanceAdmin

export { adminTexts } from './texts.ts'
export type { AdminText, AdminTexts, FastifyMaintenanceAdminOptions } from '../../types/index.ts'
