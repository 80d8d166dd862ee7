import type { FastifyInstance } from 'fastify'
import { expect, test } from 'tstyche'
import type {
  DrainErrorDetails,
  FastifyMaintenanceOptions,
  MaintenanceStatus,
  MaintenanceStore,
  ServerStatus,
  Source
} from './index.ts'

declare const app: FastifyInstance

test('fence, assumeDead, and what an unsafe wait carries', () => {
  expect<FastifyMaintenanceOptions>().type.toBeAssignableFrom({ fence: {} })
  expect<FastifyMaintenanceOptions>().type.toBeAssignableFrom({ fence: { after: '12s' } })
  expect<FastifyMaintenanceOptions>().type.not.toBeAssignableFrom({ fence: true })
  expect<Source>().type.toBeAssignableFrom('fenced' as const)
  expect(app.maintenance.set).type.toBeCallableWith(true, { wait: '30s', assumeDead: true })
  expect(app.maintenance.run).type.toBeCallableWith(() => {}, { wait: true, assumeDead: true })
  expect(app.maintenance.track(async () => 3, 'job')).type.toBe<Promise<number>>()
  expect<DrainErrorDetails['lost']>().type.toBe<readonly ServerStatus[] | undefined>()
  expect<DrainErrorDetails['pinned']>().type.toBe<readonly ServerStatus[] | undefined>()
  expect<DrainErrorDetails['status']>().type.toBe<MaintenanceStatus | undefined>()
  expect<ReturnType<NonNullable<MaintenanceStore['heartbeat']>>>().type.toBe<Promise<boolean | void>>()
})
