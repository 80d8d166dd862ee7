import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { isObject } from '../../util/validate.ts'
import { messageOf, OptionError } from '../../errors.ts'

export type Client = Redis | Cluster

/** A command without an answer by then has failed, ms. */
export const COMMAND_TIMEOUT = 1000
const CONNECT_TIMEOUT = 2000
/** A connection that is given up may say good-bye for so long, ms. */
const DISCONNECT_TIMEOUT = 100
/** How long a command waits for a connection that is being made, ms. */
const READY_TIMEOUT = 1500
/** Between two tries to connect, at most, ms. */
const RETRY_MAX = 2000

/** Many servers lose Redis at once; they come back spread out. */
const retryStrategy = (times: number): number => Math.min(50 * 2 ** times, RETRY_MAX) * (0.5 + Math.random() / 2)

/** Of a client of any kind: how it is used here. */
const COMMON = {
  keyPrefix: '',
  lazyConnect: true,
  enableOfflineQueue: false,
  // a poll of 1,000 sites goes out as one; a write waits for no answer to another command
  enableAutoPipelining: true,
  autoPipeliningIgnoredCommands: ['eval']
}

/**
 * Of one connection. Bounded waiting everywhere: nothing is queued while there is no connection, and nothing is
 * sent once more after it broke, where it might be carried out over something newer.
 */
const CONNECTION = {
  // needs INFO, which an ACL may not grant
  enableReadyCheck: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT,
  connectTimeout: CONNECT_TIMEOUT,
  disconnectTimeout: DISCONNECT_TIMEOUT,
  stringNumbers: false,
  retryStrategy,
  // after a failover the old address may lead to a replica
  reconnectOnError: (error: Error) => error.message.startsWith('READONLY')
} satisfies RedisOptions

const SENTINEL = { role: 'master', sentinelRetryStrategy: retryStrategy, sentinelCommandTimeout: COMMAND_TIMEOUT } satisfies RedisOptions

const OPTIONS = { ...COMMON, ...CONNECTION, ...SENTINEL } satisfies RedisOptions

/** Makes connections of our own: the user's client is never put into subscriber mode, and never waits for us. */
export interface Connector {
  /** Of the user's client: it stands before every key, and so in our channels too. */
  readonly keyPrefix: string
  connect (): Client
}

/**
 * @param redis a client of ioredis (also of `@fastify/redis`, Cluster and Sentinel included), a URL, or its options
 * @throws FST_ERR_MAINTENANCE_OPTION where it is a client of another kind, or ioredis is needed and not there
 */
export async function createConnector (redis: unknown): Promise<Connector> {
  if (isClient(redis)) {
    if (typeof redis.defineCommand !== 'function') throw new OptionError('store.redis', 'a client of another kind', 'a client of ioredis or @fastify/redis')
    const keyPrefix = redis.options.keyPrefix ?? ''
    return { keyPrefix, connect: () => listenForErrors(redis.isCluster ? duplicateCluster(redis as Cluster) : (redis as Redis).duplicate(OPTIONS)) }
  }
  const { Redis } = await import('ioredis').catch(error => {
    throw new OptionError('store.redis', 'an address or options', `to find the package ioredis, which comes with @fastify/redis (${messageOf(error)})`)
  })
  if (typeof redis === 'string') return { keyPrefix: '', connect: () => listenForErrors(new Redis(redis, OPTIONS)) }
  const { keyPrefix = '' } = redis as RedisOptions
  return { keyPrefix, connect: () => listenForErrors(new Redis(Object.assign({}, redis, OPTIONS))) }
}

const isClient = (redis: unknown): redis is Client => isObject(redis) && typeof redis.duplicate === 'function'

function duplicateCluster (cluster: Cluster): Cluster {
  // ioredis 5 replaces them, and a password with them
  const redisOptions = Object.assign({}, cluster.options.redisOptions, CONNECTION) as typeof CONNECTION
  return cluster.duplicate([], { ...COMMON, scaleReads: 'master', clusterRetryStrategy: retryStrategy, redisOptions })
}

/** Why there is no connection, as it was told last. */
const reasons = new WeakMap<Client, string>()
const NO_ANSWER = `no answer within ${READY_TIMEOUT} ms`
/** Where SELECT was refused: ioredis would go on in the database 0. */
const astray = new WeakSet<Client>()

const isReady = (client: Client): boolean => client.status === 'ready' && !astray.has(client)

/** Errors reach us where they matter, by the commands that fail; unheard events would be printed. */
function listenForErrors<T extends Client> (client: T): T {
  reasons.set(client, NO_ANSWER)
  client.on('error', error => {
    reasons.set(client, messageOf(error))
    if (error.command?.name !== 'select') return
    astray.add(client)
    client.disconnect(true)
  })
  client.on('close', () => astray.delete(client))
  client.on('ready', () => { if (isReady(client)) reasons.set(client, NO_ANSWER) })
  return client
}

/** Waits for a connection that is being made; one that breaks, or takes too long, is an error. */
export function whenReady (client: Client): Promise<void> {
  if (isReady(client)) return Promise.resolve()
  if (client.status === 'wait') client.connect().catch(() => {})
  return new Promise((resolve, reject) => {
    const timer = setTimeout(settle, READY_TIMEOUT)
    function settle (): void {
      clearTimeout(timer)
      client.off('ready', settle).off('close', settle).off('end', settle)
      if (isReady(client)) resolve()
      else reject(new Error(`no connection: ${reasons.get(client)}`))
    }
    client.on('ready', settle).on('close', settle).on('end', settle)
  })
}

const broken = new WeakSet<Client>()

/** A half-open connection looks well for ever: one that does not answer is cut, and made anew. */
export function reconnect (client: Client): void {
  if (client.status !== 'ready' || broken.has(client)) return
  broken.add(client)
  client.once('close', () => broken.delete(client))
  client.disconnect(true)
}
