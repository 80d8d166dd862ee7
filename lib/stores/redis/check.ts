import { OptionError } from '../../errors.ts'
import { isObject } from '../../util/validate.ts'
import { describeAddress, isRedisAddress } from '../address.ts'
import { isClient } from './client.ts'

const ADDRESS = "an address such as 'redis://localhost:6379'"
const EXPECTED = `a client of ioredis, iovalkey or @fastify/redis, ${ADDRESS}, or options of ioredis such as { host, port }`

/** What a value is, and what is expected instead. */
type Problem = readonly [is: string, expected: string]

/**
 * Checks the value of `store.redis`.
 * @throws FST_ERR_MAINTENANCE_OPTION with what to do, and without anything that may be a secret
 */
export function checkRedis (redis: unknown): void {
  if (isClient(redis)) return
  const problem = isObject(redis) ? problemOfObject(redis) : problemOfOther(redis)
  if (problem !== null) throw new OptionError('store.redis', ...problem)
  const { url } = redis as { url?: unknown }
  if (url !== undefined && (typeof url !== 'string' || !isRedisAddress(url))) {
    throw new OptionError('store.redis.url', kindOf(url), ADDRESS)
  }
}

function problemOfOther (redis: unknown): Problem | null {
  if (redis === undefined || redis === null) {
    return [String(redis), `a client (register @fastify/redis first and await it, then pass app.redis), or ${ADDRESS}`]
  }
  if (typeof redis === 'string') return isRedisAddress(redis) ? null : [kindOf(redis), ADDRESS]
  if (typeof redis === 'function') {
    return [
      'a function or class',
      'an instance, such as new Redis({ host, port }); credentials that change may be functions in the options'
    ]
  }
  if (Array.isArray(redis)) return ['an array', 'a client of a Cluster: new Cluster(nodes)']
  return [kindOf(redis), EXPECTED]
}

function problemOfObject (redis: Record<string, unknown>): Problem | null {
  if (typeof redis.then === 'function') return ['a Promise', 'what it resolves to: await it']
  if (typeof redis.sendCommand === 'function') return ['a client of another package (redis or @redis/client)', EXPECTED]
  if (!isPlain(redis)) return [`an instance of ${nameOf(redis)}`, EXPECTED]
  const namespace = Object.keys(redis).find(name => isClient(redis[name]))
  if (namespace !== undefined) {
    return [
      'an object of clients',
      `one of them: pass its member '${namespace}' (of @fastify/redis: app.redis['${namespace}'])`
    ]
  }
  if (isObject(redis.socket)) return ['options of another package (redis)', EXPECTED]
  return null
}

/** Of any realm: Jest runs an application in one of its own. */
function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** The package @upstash/redis leaves its class without a name. */
function nameOf (value: object): string {
  return (value.constructor as { name?: string } | undefined)?.name || 'a class'
}

const kindOf = (value: unknown): string =>
  typeof value === 'string' ? describeAddress(value) : `of type ${typeof value}`
