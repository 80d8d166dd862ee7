export default async function health (fastify) {
  fastify.get('/', { config: { maintenance: 'off' } }, async () => ({ closed: fastify.maintenance.active }))
}
