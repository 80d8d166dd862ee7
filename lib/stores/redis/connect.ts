import { OptionError } from '../../errors.ts'
import { optionalRequire } from '../../util/optional-require.ts'
import { COMMAND_TIMEOUT, isClient, type Client } from './client.ts'
import { followCredentials } from './credentials.ts'
import { describeClient } from './describe.ts'
import { watchConnection } from './ready.ts'

const CONNECT_TIMEOUT = 2000
/** How long a connection that is given up may take to say goodbye, ms. */
const DISCONNECT_TIMEOUT = 100
/** Between two tries to connect, at most, ms. */
const RETRY_MAX = 2000

/** Many servers lose Redis at once; they come back spread out. */
const retryStrategy = (times: number): number => Math.min(50 * 2 ** times, RETRY_MAX) * (0.5 + Math.random() / 2)

/** Options common to single clients and clusters. */
const COMMON = {
  keyPrefix: '',
  lazyConnect: true,
  enableOfflineQueue: false,
  // a poll of 1,000 sites goes out as one; a write waits for no answer to another command
  enableAutoPipelining: true,
  autoPipeliningIgnoredCommands: ['eval', 'evalsha']
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
}

const SENTINEL = { role: 'master', sentinelRetryStrategy: retryStrategy, sentinelCommandTimeout: COMMAND_TIMEOUT }

const SINGLE = { ...COMMON, ...CONNECTION, ...SENTINEL }

/** Makes connections of our own: the user's client is never put into subscriber mode, and never waits for us. */
export interface Connector {
  /** Of the user's client: it stands before every key, and so in our channels too. */
  readonly keyPrefix: string
  /** Where they lead, for the log. */
  readonly description: string
  connect (): Client
}

/**
 * @param redis what `checkRedis` let through: a client (Cluster and Sentinel included), an address, or options
 * @throws FST_ERR_MAINTENANCE_OPTION where ioredis is needed and not there
 */
export function createConnector (redis: unknown): Connector {
  const source = isClient(redis) ? redis : makeClient(redis as string | RedisOptions)
  return {
    keyPrefix: source.options.keyPrefix ?? '',
    description: describeClient(source),
    connect: () => connectLike(source)
  }
}

interface RedisOptions { readonly url?: string }
interface Package { readonly Redis: new (...args: (string | object)[]) => Client }

/** A client that is never connected: it reads an address as ioredis does. */
function makeClient (redis: string | RedisOptions): Client {
  const { Redis } = (optionalRequire('ioredis') ?? optionalRequire('iovalkey') ?? missing()) as Package
  const { url, ...options } = typeof redis === 'string' ? { url: redis } : redis
  return url === undefined
    ? new Redis({ ...options, lazyConnect: true })
    : new Redis(url, { ...options, lazyConnect: true })
}

function missing (): never {
  throw new OptionError('store.redis', 'an address or options', 'the package ioredis beside it (npm install ioredis)')
}

function connectLike (source: Client): Client {
  const client = source.isCluster ? duplicateCluster(source) : source.duplicate(SINGLE)
  followCredentials(client, source, retryStrategy)
  return watchConnection(client)
}

function duplicateCluster (cluster: Client): Client {
  // ioredis 5 replaces them, and a password with them
  const redisOptions = { ...cluster.options.redisOptions, ...CONNECTION, keyPrefix: '' }
  return cluster.duplicate([], { ...COMMON, scaleReads: 'master', clusterRetryStrategy: retryStrategy, redisOptions })
}
