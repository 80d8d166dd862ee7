import type { FastifyInstance } from 'fastify'
import { GraphQLInt, GraphQLNonNull, GraphQLObjectType, GraphQLSchema } from 'graphql'
import { createClient, type Client } from 'graphql-ws'
import { writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { createApp } from './fixtures/app.ts'
import { blocksOf } from './fixtures/docs.ts'

// The recipes of docs/graphql.md as written, over HTTP and over a WebSocket.

/** A schema with a number: query, mutation and subscription. */
function createNumber () {
  const number = { value: 1, writes: 0 }
  const type = new GraphQLNonNull(GraphQLInt)
  const object = (name: string, fields: ConstructorParameters<typeof GraphQLObjectType>[0]['fields']) =>
    new GraphQLObjectType({ name, fields })
  const schema = new GraphQLSchema({
    query: object('Query', { value: { type, resolve: () => number.value } }),
    mutation: object('Mutation', {
      set: {
        type,
        args: { to: { type } },
        resolve (_root, { to }) {
          number.writes++
          return (number.value = to)
        }
      }
    }),
    subscription: object('Subscription', {
      follow: { type, async * subscribe () { yield { follow: number.value } } }
    })
  })
  return { number, schema }
}

/** The first result of an operation. Throws errors that the server sends. */
async function overSocket (client: Client, query: string, operationName?: string): Promise<unknown> {
  const results = client.iterate({ query, ...(operationName === undefined ? {} : { operationName }) })
  try {
    return (await results.next()).value
  } finally {
    await results.return?.()
  }
}

const QUERY = '{ value }'
const MUTATION = 'mutation { set(to: 2) }'
const BOTH = 'query Ask { value } mutation Set { set(to: 3) }'
const EXTENSIONS = { code: 'FST_ERR_MAINTENANCE', statusCode: 503, mode: 'read-only', retryAfter: 60, endsAt: null }

async function createServer (t: Test, recipe: string) {
  const { app } = await createApp(t, { ignore: { ips: '10.0.0.1' }, response: { retryAfter: 60 } })
  const code = blocksOf('docs/graphql.md').find(({ code }) => code.startsWith(`// ${recipe}\n`))?.code ?? ''
  const dir = t.testdir()
  writeFileSync(`${dir}/${recipe.replace('.js', '.mjs')}`, code)
  const { addGraphql } = await import(
    `${dir}/${recipe.replace('.js', '.mjs')}`
  ) as { addGraphql (app: FastifyInstance, options: object): Promise<void> }
  const { number, schema } = createNumber()
  await addGraphql(app, { schema })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const post = (payload: object, remoteAddress = '192.0.2.1') =>
    app.inject({ method: 'POST', url: '/graphql', payload, remoteAddress })
  return { app, address, number, post }
}

for (const [recipe, path] of [['mercurius.js', '/graphql'], ['apollo.js', '/graphql/ws']] as const) {
  t.test(recipe, async t => {
    const { app, address, number, post } = await createServer(t, recipe)
    const client = createClient({
      url: `${address.replace('http', 'ws')}${path}`, webSocketImpl: WebSocket, lazy: false, retryAttempts: 0
    })
    t.teardown(() => client.dispose())

    t.test('nothing is blocked while writes are allowed', async t => {
      t.match(await post({ query: MUTATION }), { statusCode: 200, body: '"set":2' })
      t.match(await overSocket(client, MUTATION), { data: { set: 2 } })
      t.equal(number.writes, 2)
    })

    t.test('read-only: queries and subscriptions are let through, also over an existing socket', async t => {
      await app.maintenance.set(true, { mode: 'read-only', message: 'Only reads' })
      t.match(await post({ query: QUERY }), { statusCode: 200, body: '"value":2' })
      t.match(await app.inject({
        url: '/graphql', query: { query: QUERY }, headers: { 'apollo-require-preflight': '1' }
      }), { statusCode: 200, body: '"value":2' })
      t.match(await overSocket(client, QUERY), { data: { value: 2 } })
      t.match(await overSocket(client, 'subscription { follow }'), { data: { follow: 2 } })
    })

    t.test('read-only: mutations are blocked, and none of them runs', async t => {
      number.writes = 0
      for (const payload of [{ query: MUTATION }, { query: BOTH, operationName: 'Set' }]) {
        const answer = await post(payload)
        t.match(answer, {
          statusCode: 503,
          headers: { 'retry-after': '60', 'maintenance-mode': 'read-only', 'cache-control': 'no-store' }
        })
        t.match(answer.json(), { errors: [{ message: 'Only reads', extensions: EXTENSIONS }] })
        t.strictSame(
          Object.keys(answer.json().errors[0].extensions).filter(key => key !== 'stacktrace'),
          Object.keys(EXTENSIONS)
        )
      }
      const blocked = { errors: [{ message: 'Only reads', extensions: EXTENSIONS }] }
      t.match(await overSocket(client, MUTATION).catch(errors => ({ errors })), blocked)
      t.match(await overSocket(client, BOTH, 'Set').catch(errors => ({ errors })), blocked)
      t.match(await overSocket(client, QUERY), { data: { value: 2 } }, 'the connection stays open')
      t.equal(number.writes, 0)
    })

    t.test('read-only: an ignored address can write, and a new socket is let through', async t => {
      t.match(await post({ query: MUTATION }, '10.0.0.1'), { statusCode: 200 })
      t.equal(number.writes, 1)
      const later = createClient({
        url: `${address.replace('http', 'ws')}${path}`, webSocketImpl: WebSocket, retryAttempts: 0
      })
      t.teardown(() => later.dispose())
      t.match(await overSocket(later, QUERY), { data: { value: 2 } })
    })

    t.test('closed: everything is blocked, and afterwards let through again', async t => {
      await app.maintenance.set(true)
      t.match(await post({ query: QUERY }), { statusCode: 503, headers: { 'maintenance-mode': 'full' } })
      t.match(await overSocket(client, MUTATION).catch(errors => ({ errors })), {
        errors: [{ extensions: { mode: 'full' } }]
      })
      await app.maintenance.set(false)
      t.match(await post({ query: BOTH, operationName: 'Set' }), { statusCode: 200, body: '"set":3' })
      t.match(await overSocket(client, MUTATION), { data: { set: 2 } })
    })
  })
}
