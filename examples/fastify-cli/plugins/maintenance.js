import fp from 'fastify-plugin'
import maintenance from 'fastify-maintenance'

// `fp`: without it, only what stands in this file would be closed
export default fp(async fastify => {
  await fastify.register(maintenance, {
    store: { file: process.env.MAINTENANCE_FILE ?? './maintenance.json' }
  })
})
