import type { FastifyMaintenanceOptions, MaintenanceStore, StoreStatus } from '../../types/index.ts'
import { createFileHistory } from './file/history.ts'
import { createFileServers } from './file/servers.ts'
import { createFileStore } from './file/file-store.ts'
import { createMemoryStore } from './memory.ts'

export interface OpenedStore {
  readonly kind: StoreStatus['kind']
  readonly store: MaintenanceStore
  /** How often the synchroniser reads without being asked to, ms; `null`: nobody else writes. */
  readonly pollInterval: number | null
  /** Keeps the last known state, for boots while the store is away. */
  readonly mirror?: MaintenanceStore | undefined
}

// ms
const FILE_POLL_INTERVAL = 1000
const REDIS_POLL_INTERVAL = 5000
const CUSTOM_POLL_INTERVAL = 5000
const REDIS_PREFIX = 'fastify-maintenance:'

/** Opens the store that the option `store` names, for these sites. */
export async function openStore (option: NonNullable<FastifyMaintenanceOptions['store']>, sites: readonly string[]): Promise<OpenedStore> {
  if (option === 'memory') return { kind: 'memory', store: createMemoryStore(), pollInterval: null }
  if ('file' in option) return { kind: 'file', store: openFile(option.file), pollInterval: FILE_POLL_INTERVAL }
  if ('redis' in option) {
    const { redis, prefix = REDIS_PREFIX, mirror, pollInterval = REDIS_POLL_INTERVAL } = option
    // loaded here, so that the command starts faster without Redis
    const [{ createConnector }, { createRedisStore }] = await Promise.all([import('./redis/connect.ts'), import('./redis/redis-store.ts')])
    const store = createRedisStore(await createConnector(redis), { prefix, sites })
    return { kind: 'redis', store, pollInterval, mirror: mirror === undefined ? undefined : createFileStore(mirror) }
  }
  return { kind: 'custom', store: option, pollInterval: CUSTOM_POLL_INTERVAL }
}

function openFile (file: string): MaintenanceStore {
  return { ...createFileStore(file), ...createFileHistory(createFileStore(`${file}.history`)), ...createFileServers(file) }
}
