// One plugin sheds load, the other closes the site; the load balancer can tell them apart.
import underPressure from '@fastify/under-pressure'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'

export async function createApp (isHealthy: () => Promise<boolean>) {
  const app = Fastify()
  // first: a closed site costs nothing, so its visitors learn the reason under pressure, too
  await app.register(maintenance)
  await app.register(underPressure, {
    maxEventLoopDelay: 1000,
    healthCheck: isHealthy,
    healthCheckInterval: 500,
    exposeStatusRoute: { url: '/alive', routeOpts: { config: { maintenance: 'off' } } }
  })
  app.get('/', async () => 'open')
  return app
}
