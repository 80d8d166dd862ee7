// The 503 of maintenance in the documentation of every route that may answer it.
import swagger, { type SwaggerTransform } from '@fastify/swagger'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'

const UNDER_MAINTENANCE = {
  description: 'The site is under maintenance',
  headers: { 'retry-after': { type: 'integer', description: 'Seconds' } },
  type: 'object',
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string', const: 'FST_ERR_MAINTENANCE' },
    error: { type: 'string' },
    message: { type: 'string' },
    retryAfter: { type: 'integer' },
    endsAt: { type: 'string', format: 'date-time' }
  }
}

/** Changes what is documented, and nothing that is sent. */
const documentMaintenance: SwaggerTransform = ({ schema, url, route }) => {
  if (route.config?.maintenance === 'off') return { schema, url }
  const response = { 503: UNDER_MAINTENANCE, ...schema?.response as object }
  return { schema: { ...schema, response }, url }
}

export async function createApi () {
  const app = Fastify()
  await app.register(maintenance)
  await app.register(swagger, { openapi: {}, transform: documentMaintenance })
  app.get('/books', { schema: { response: { 200: { type: 'array', items: { type: 'string' } } } } }, async () => ['a book'])
  app.get('/plain', async () => 'without a schema')
  app.get('/openapi.json', { config: { maintenance: 'off' } }, async () => app.swagger())
  return app
}
