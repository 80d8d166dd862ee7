import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RouteShorthandOptions
} from 'fastify'
import type { FastifyAuthFunction } from '@fastify/auth'
import '@fastify/basic-auth'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyRedis } from '@fastify/redis'
import type { Cluster as Cluster6, Redis as Redis6 } from 'ioredis'
import type { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import type { Cluster as ValkeyCluster, Redis as Valkey } from 'iovalkey'
import { expect, test } from 'tstyche'
import Type from 'typebox'
import maintenance, { fastifyMaintenance } from '../index.ts'
import maintenanceAdmin, { adminTexts } from '../lib/admin/index.ts'
import { MaintenanceOff, MaintenanceOn } from '../lib/nest.ts'
import type { AdminTexts, FastifyMaintenanceAdminOptions } from './admin.ts'
import type {
  Decision,
  DrainErrorDetails,
  FastifyMaintenance,
  FastifyMaintenanceOptions,
  Maintenance,
  MaintenanceStatus,
  MaintenanceStore,
  RedisClient,
  ServerSite,
  ServerStatus,
  WindowStatus
} from './index.ts'
import type { PageTexts, RequestMaintenance, TemplateVariables } from './index.ts'

declare const app: FastifyInstance
declare const store: MaintenanceStore

test('clients of Redis', () => {
  for (const client of [
    {} as Redis6,
    {} as Cluster6,
    {} as Redis5,
    {} as Cluster5,
    {} as Valkey,
    {} as ValkeyCluster,
    {} as FastifyRedis
  ]) {
    expect<RedisClient>().type.toBeAssignableFrom(client)
  }
})

test('the plugin and its options', () => {
  expect(maintenance).type.toBe<FastifyMaintenance>()
  expect(fastifyMaintenance).type.toBe<FastifyMaintenance>()
  expect(app.register).type.toBeCallableWith(maintenance)
  expect<FastifyMaintenanceOptions>().type.toBeAssignableFrom({
    pinned: 'open' as const,
    whenUnknown: 'closed' as const,
    site: (request: FastifyRequest) => request.hostname,
    sites: ['shop'],
    store,
    ignore: { routes: ['/x', /^\/y$/], ips: '10.0.0.1', request: async () => true },
    response: { statusCode: 503, retryAfter: false as const, type: () => 'json' as const, headers: { a: 'b' } },
    onChange: (status: MaintenanceStatus, previous: MaintenanceStatus) => {
      console.log(status.active, previous.active)
    }
  })
  expect<FastifyMaintenanceOptions>().type.not.toBeAssignableFrom({ ingore: {} })
  expect<FastifyMaintenanceOptions>().type.toBeAssignableFrom({ store: String(process.env.MAINTENANCE_STORE) })
  expect<FastifyMaintenanceOptions>().type.not.toBeAssignableFrom({ pinned: true })
  expect<FastifyMaintenanceOptions>().type.not.toBeAssignableFrom({ store: 6379 })
  expect<FastifyMaintenanceOptions>().type.not.toBeAssignableFrom({ response: { retryAfter: true } })
})

test('what hangs at the instance', () => {
  expect(app.maintenance).type.toBe<Maintenance>()
  expect(app.maintenance.active).type.toBe<boolean>()
  expect(app.maintenance.set(true)).type.toBe<Promise<MaintenanceStatus>>()
  expect(app.maintenance.set).type.toBeCallableWith(true, {
    message: 'x',
    endsAt: new Date(),
    ignoreRoutes: ['/a', { pattern: '/b' }]
  })
  expect(app.maintenance.set).type.not.toBeCallableWith('on')
  expect(app.maintenance.set).type.toBeCallableWith(false, { by: 'ada', expectedRevision: 3, wait: 1000 })
  expect(app.maintenance.set).type.not.toBeCallableWith(false, { message: 'x' })
  expect(app.maintenance.set).type.toBeCallableWith(Math.random() > 0.5, { by: 'ada' })
  expect(app.maintenance.set).type.not.toBeCallableWith(Math.random() > 0.5, { endsAt: new Date() })
  expect(app.maintenance.set).type.not.toBeCallableWith(true, { mode: 'half' })
  expect(app.maintenance.set).type.toBeCallableWith(true, {
    message: { en: 'x', de: 'y' },
    endsAt: '+30m',
    ignoreIps: ['10.0.0.0/8'],
    onlyRoutes: ['/a'],
    mode: undefined
  })
  expect(app.maintenance.set).type.toBeCallableWith(false, { force: true })
  expect(app.maintenance.update({ endsAt: '+30m' })).type.toBe<Promise<MaintenanceStatus>>()
  expect(app.maintenance.update).type.toBeCallableWith(
    { message: null, endsAt: null, ignoreRoutes: null },
    { window: 'id' }
  )
  expect(app.maintenance.update).type.toBeCallableWith({ mode: null })
  expect(app.maintenance.cancel()).type.toBe<Promise<MaintenanceStatus>>()
  expect(app.maintenance.cancel).type.toBeCallableWith('id', { by: 'ada', expectedRevision: 3 })
  expect(app.maintenance.status().windows).type.toBe<WindowStatus[]>()
  expect(app.maintenance.run(async () => 3)).type.toBe<Promise<number>>()
  expect(app.maintenance.run(({ signal, track }) => track(Promise.resolve(signal.aborted), 'job'))).type.toBe<
    Promise<boolean>
  >()
  expect(app.maintenance.run).type.toBeCallableWith(async () => {}, { lease: '30s', stayClosed: true, wait: true })
  expect(app.maintenance.track(() => 3, 'job')).type.toBe<Promise<number>>()
  expect(app.maintenance.for('shop')).type.toBe<Maintenance>()
  expect(app.maintenance.onChange(() => {})).type.toBe<() => void>()
})

test('safe to migrate', () => {
  expect(app.maintenance.drained()).type.toBe<Promise<void>>()
  expect(app.maintenance.drained).type.toBeCallableWith({ timeout: 1000, signal: new AbortController().signal })
  expect(app.maintenance.drained).type.toBeCallableWith({ timeout: '1s' })
  expect(app.maintenance.drained).type.not.toBeCallableWith({ wait: 1000 })
  expect(app.maintenance.servers()).type.toBe<Promise<ServerStatus[]>>()
  expect<ServerStatus['draining']>().type.toBe<Record<string, number>>()
  expect<ServerStatus['sites']>().type.toBe<ServerSite[]>()
  expect(app.maintenance.set).type.toBeCallableWith(true, { wait: 30_000, message: 'x' })
  expect(app.maintenance.set).type.toBeCallableWith(false, { wait: 30_000 })
  expect(app.maintenance.set).type.toBeCallableWith(true, { wait: '30s' })
  expect(app.maintenance.set).type.toBeCallableWith(true, { wait: true })
  expect(app.maintenance.set).type.not.toBeCallableWith(true, { wait: {} })
  expect(app.maintenance.status().inFlight).type.toBe<number>()
  expect(app.maintenance.status().streams).type.toBe<number>()
  expect<DrainErrorDetails['servers']>().type.toBe<readonly ServerStatus[] | undefined>()
  expect<FastifyMaintenanceOptions>().type.toBeAssignableFrom({ closeStreams: {} })
  expect<FastifyMaintenanceOptions>().type.toBeAssignableFrom({ closeStreams: { after: 5000, jitter: '2s' } })
  expect<FastifyMaintenanceOptions>().type.not.toBeAssignableFrom({ closeStreams: true })
  expect<MaintenanceStore>().type.toBeAssignableFrom({
    ...store,
    heartbeat: async (server: string, entry: string, ttl: number) => {
      console.log(server, entry, ttl)
    },
    heartbeats: async () => ['entry']
  })
})

test('requests and routes', () => {
  Fastify().get('/', { config: { maintenance: 'off' } }, async request => {
    expect(request.maintenance).type.toBe<RequestMaintenance>()
  })
  expect<RouteShorthandOptions>().type.toBeAssignableFrom({ config: { maintenance: 'read' as const } })
  expect<RouteShorthandOptions>().type.not.toBeAssignableFrom({ config: { maintenance: 'no' as const } })
})

test('type providers', () => {
  const typed = Fastify().withTypeProvider<TypeBoxTypeProvider>()
  expect(typed.register).type.toBeCallableWith(maintenance, { ignore: { routes: '/x' } })
  expect(typed.maintenance).type.toBe<Maintenance>()
  typed.post(
    '/',
    { schema: { body: Type.Object({ limit: Type.Integer() }) }, config: { maintenance: 'read' } },
    async request => {
      expect(request.body).type.toBe<{ limit: number }>()
      expect(request.maintenance).type.toBe<RequestMaintenance>()
    }
  )
})

test('the decorators of NestJS', () => {
  expect(MaintenanceOff()).type.toBeAssignableTo<MethodDecorator>()
  expect(MaintenanceOn()).type.toBeAssignableTo<ClassDecorator>()
})

test('the admin page', () => {
  expect(app.register).type.toBeCallableWith(maintenanceAdmin, { prefix: '/maintenance', authorize: async () => 'ada' })
  expect(app.register).type.not.toBeCallableWith(maintenanceAdmin, { prefix: '/maintenance' })
  expect<FastifyMaintenanceAdminOptions['authorize']>().type.toBeAssignableFrom(() => true)
  expect<FastifyMaintenanceAdminOptions['authorize']>().type.toBeAssignableFrom(
    async (_request: FastifyRequest, reply: FastifyReply) => reply.code(401).send()
  )
  expect<FastifyMaintenanceAdminOptions['authorize']>().type.toBeAssignableFrom(
    async (): Promise<string | undefined> => undefined
  )
  expect<FastifyMaintenanceAdminOptions['authorize']>().type.toBeAssignableFrom(app.basicAuth)
  expect<FastifyMaintenanceAdminOptions['authorize']>().type.toBeAssignableFrom(
    app.auth([app.basicAuth as FastifyAuthFunction])
  )
  // an object is no name
  expect<FastifyMaintenanceAdminOptions['authorize']>().type.not.toBeAssignableFrom(async () => ({ name: 'ada' }))
  expect(adminTexts.de).type.toBe<AdminTexts>()
  expect<FastifyMaintenanceAdminOptions>().type.not.toBeAssignableFrom({
    authorize () {},
    texts: { fr: { title: 'Entretien' } }
  })
})

test('the answer in the words and shape of the application', () => {
  expect<FastifyMaintenanceOptions>().type.toBeAssignableFrom({
    publicStatus: '/maintenance/status',
    response: {
      json: ({ message, endsAt }: TemplateVariables) => ({ errors: [{ message, endsAt }] }),
      texts: { de: { title: 'Pause', 'read-only': { title: 'Nur lesen' } } },
      brand: { name: 'Shop', logo: '<svg/>', color: '#1f5fbf' }
    }
  })
  expect<FastifyMaintenanceOptions>().type.not.toBeAssignableFrom({ response: { texts: { de: { titel: 'Pause' } } } })
  expect<FastifyMaintenanceOptions>().type.not.toBeAssignableFrom({ response: { json: () => 'text' } })
  expect<PageTexts>().type.not.toBeAssignableFrom({ hold: { back: 'x' } })
})

test('what hangs at a request', () => {
  expect<FastifyRequest['maintenance']>().type.toBe<RequestMaintenance>()
  expect<RequestMaintenance>().type.toBeAssignableTo<Decision>()
  expect<RequestMaintenance['refuse']>().type.toBe<() => void>()
})
