import type { MaintenanceStore, StoreStatus } from '../../types/index.ts'
import type { Log } from '../util/log.ts'
import { createFileHistory } from './file/history.ts'
import { createFileServers } from './file/servers.ts'
import { createFileStore } from './file/file-store.ts'
import { refuseMount } from './file/mount.ts'
import { guardStore } from './guard.ts'
import { toDuration } from '../util/duration.ts'
import { createMemoryStore } from './memory.ts'
import type { StoreOption } from './options.ts'

export interface OpenedStore {
  readonly kind: StoreStatus['kind']
  readonly store: MaintenanceStore
  /** What is wrong with the store's clock; `null`: nothing. */
  readonly clockError?: () => string | null
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
export async function openStore (option: StoreOption, sites: readonly string[], log?: Log): Promise<OpenedStore> {
  if (option === 'memory') return { kind: 'memory', store: createMemoryStore(), pollInterval: null }
  // a store of the user's own may have members of any name
  if ('read' in option) return openCustom(option)
  if (option.mirror !== undefined) await refuseMount('store.mirror', option.mirror)
  const { mirror, pollInterval } = option
  return {
    ...await openShared(option, sites, log),
    ...(pollInterval === undefined ? {} : { pollInterval: toDuration(pollInterval) }),
    mirror: mirror === undefined ? undefined : createFileStore(mirror)
  }
}

type Shared = Exclude<StoreOption, 'memory' | MaintenanceStore>

/** Each is loaded here, so that the command starts faster without it. */
async function openShared (option: Shared, sites: readonly string[], log?: Log): Promise<OpenedStore> {
  if ('custom' in option) return openCustom(option.custom)
  if ('file' in option) {
    await refuseMount('store.file', option.file)
    return { kind: 'file', store: openFile(option.file), pollInterval: FILE_POLL_INTERVAL }
  }
  if ('sql' in option) return { kind: 'sql', ...await (await import('./sql/open.ts')).openSql(option.sql, log) }
  const [{ createConnector }, { createRedisStore }] = await Promise.all([
    import('./redis/connect.ts'),
    import('./redis/redis-store.ts')
  ])
  const connector = createConnector(option.redis)
  log?.info(`maintenance: the store is Redis at ${connector.description}`)
  const store = createRedisStore(connector, { prefix: option.prefix ?? REDIS_PREFIX, sites })
  return { kind: 'redis', store, pollInterval: REDIS_POLL_INTERVAL }
}

const openCustom = (store: MaintenanceStore): OpenedStore => ({
  kind: 'custom',
  ...guardStore(store),
  pollInterval: CUSTOM_POLL_INTERVAL
})

function openFile (file: string): MaintenanceStore {
  return {
    ...createFileStore(file),
    ...createFileHistory(createFileStore(file, '.history')),
    ...createFileServers(file)
  }
}
