// A type provider, and what routes say of maintenance, side by side.
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'
import Type from 'typebox'

export async function createApi () {
  const app = Fastify().setValidatorCompiler(TypeBoxValidatorCompiler).withTypeProvider<TypeBoxTypeProvider>()
  await app.register(maintenance)

  const Search = Type.Object({ text: Type.String(), limit: Type.Optional(Type.Integer()) })
  app.post('/search', { schema: { body: Search }, config: { maintenance: 'read' } }, async ({ body, maintenance }) => {
    const limit = body.limit ?? 10
    return { text: body.text.trim(), limit, mode: maintenance.mode }
  })
  app.post('/orders', { schema: { body: Type.Object({ book: Type.String() }) } }, async ({ body }) => ({ ordered: body.book }))
  return app
}
