import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { isObject } from '../../check.ts'
import { messageOf, OptionError } from '../../errors.ts'

export type Client = Redis | Cluster

/** A command without an answer by then has failed, ms. */
export const COMMAND_TIMEOUT = 1000
const CONNECT_TIMEOUT = 2000
/** How long a command waits for a connection that is being made, ms. */
const READY_TIMEOUT = 1500
/** Between two tries to connect, at most, ms. */
const RETRY_MAX = 2000
/** How often the connection that only listens is asked whether it still stands, ms. */
const WATCHDOG_INTERVAL = 2000

/** Many servers lose Redis at once; they come back spread out. */
const retryStrategy = (times: number): number => Math.min(50 * 2 ** times, RETRY_MAX) * (0.5 + Math.random() / 2)

/**
 * Bounded waiting everywhere: nothing is queued while there is no connection, and nothing is sent once more
 * after it broke, where it might be carried out over something newer.
 */
const OPTIONS = {
  keyPrefix: '',
  lazyConnect: true,
  enableOfflineQueue: false,
  enableReadyCheck: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  enableAutoPipelining: true,
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT,
  connectTimeout: CONNECT_TIMEOUT,
  retryStrategy,
  // after a failover the old address may lead to a replica
  reconnectOnError: (error: Error) => error.message.startsWith('READONLY')
} satisfies RedisOptions

/** Makes connections of our own: the user's client is never put into subscriber mode, and never waits for us. */
export interface Connector {
  /** Of the user's client: it stands before every key, and so in our channels too. */
  readonly keyPrefix: string
  connect (): Client
}

/**
 * @param redis a client of ioredis (also of `@fastify/redis`, Cluster and Sentinel included), a URL, or its options
 * @throws FST_ERR_MAINTENANCE_OPTION where ioredis is needed, and not there
 */
export async function createConnector (redis: unknown): Promise<Connector> {
  if (isClient(redis)) {
    const keyPrefix = redis.options.keyPrefix ?? ''
    return { keyPrefix, connect: () => quiet(isCluster(redis) ? duplicateCluster(redis) : redis.duplicate(OPTIONS)) }
  }
  const { Redis } = await import('ioredis').catch(error => {
    throw new OptionError('store.redis', typeof redis === 'string' ? 'a URL' : 'an object', `to find the package @fastify/redis or ioredis (${messageOf(error)})`)
  })
  if (typeof redis === 'string') return { keyPrefix: '', connect: () => quiet(new Redis(redis, OPTIONS)) }
  const { keyPrefix = '' } = redis as RedisOptions
  return { keyPrefix, connect: () => quiet(new Redis(Object.assign({}, redis, OPTIONS))) }
}

export const isClient = (redis: unknown): redis is Client => isObject(redis) && typeof redis.duplicate === 'function'

export const isCluster = (client: Client): client is Cluster => client.isCluster

function duplicateCluster (cluster: Cluster): Cluster {
  const { enableOfflineQueue, keyPrefix, lazyConnect, enableAutoPipelining, ...redisOptions } = OPTIONS
  return cluster.duplicate([], {
    enableOfflineQueue, keyPrefix, lazyConnect, enableAutoPipelining, scaleReads: 'master', clusterRetryStrategy: retryStrategy, redisOptions
  })
}

/** Errors reach us where they matter, by the commands that fail; unheard events would be printed. */
function quiet<T extends Client> (client: T): T {
  client.on('error', () => {})
  return client
}

/** Waits for a connection that is being made; one that breaks, or takes too long, is an error. */
export function whenReady (client: Client): Promise<void> {
  if (client.status === 'ready') return Promise.resolve()
  if (client.status === 'wait') client.connect().catch(() => {})
  return new Promise((resolve, reject) => {
    let reason = `no connection within ${READY_TIMEOUT} ms`
    const timer = setTimeout(settle, READY_TIMEOUT)
    const onError = (error: Error) => { reason = error.message }
    function settle (): void {
      clearTimeout(timer)
      client.off('ready', settle).off('close', settle).off('end', settle).off('error', onError)
      if (client.status === 'ready') resolve()
      else reject(new Error(reason))
    }
    client.on('ready', settle).on('close', settle).on('end', settle).on('error', onError)
  })
}

/**
 * A half-open connection looks well for ever: only asking shows it. It is cut then, and made anew.
 * @returns the way to stop
 */
export function watchdog (client: Client): () => void {
  const timer = setInterval(() => {
    // a cluster chooses the node that it listens to by itself; there the poll is what finds it
    if (client.status === 'ready' && !isCluster(client)) client.ping().catch(() => client.disconnect(true))
  }, WATCHDOG_INTERVAL).unref()
  return () => clearInterval(timer)
}
