import type { FastifyMaintenanceOptions, MaintenanceStore, RedisStoreOptions } from '../../types/index.ts'
import { InvalidOptionError, OptionError, show } from '../errors.ts'
import { suggest } from '../util/did-you-mean.ts'
import { checkShape, isObject, text, type Shape } from '../util/validate.ts'
import { duration } from '../util/duration.ts'
import { ADDRESS_EXPECTED, describeAddress, parseAddress } from './address.ts'
import { checkRedis } from './redis/check.ts'

/** The option `store`, with an address read. */
export type StoreOption = 'memory' | { file: string } | RedisStoreOptions | MaintenanceStore

const EXPECTED = `'memory', ${ADDRESS_EXPECTED}, { file: 'path' }, or { redis: … }, or an object with the functions read, write, watch and close`

const path = text(4096)

/** What stands beside `redis`. */
export const REDIS: Shape = {
  redis: { expected: '', test: () => true },
  // a cluster keeps a site's keys together by what stands in the first braces
  prefix: { expected: "text without control characters and without '{}'", test: value => typeof value === 'string' && !/[\u0000-\u001f]|\{\}/.test(value) && value.length <= 200 }, // eslint-disable-line no-control-regex
  mirror: path,
  pollInterval: duration(100, 3_600_000)
}

/**
 * Checks the option `store`.
 * @throws FST_ERR_MAINTENANCE_OPTION, without what may be a secret
 */
export function readStore (option: FastifyMaintenanceOptions['store'] = 'memory'): StoreOption {
  if (option === 'memory' || isStore(option)) return option
  if (typeof option === 'string') return parseAddress(option) ?? refuse(describeAddress(option))
  if (!isObject(option)) return refuse(option === null ? 'null' : `of type ${typeof option}`)
  if ('redis' in option) return readRedis(option)
  const { file, ...others } = option as { file?: unknown }
  if (file === undefined || Object.values(others).some(value => value !== undefined)) return refuse(`an object with ${namesOf(option)}`)
  if (!path.test(file)) throw new OptionError('store.file', show(file), path.expected)
  return option as { file: string }
}

function readRedis (option: object): RedisStoreOptions {
  checkShape(REDIS, option, fail, 'store')
  checkRedis((option as RedisStoreOptions).redis)
  return option as RedisStoreOptions
}

function fail (name: string, value: unknown, expected: string, known?: readonly string[]): Error {
  if (known === undefined) return new OptionError(name, show(value), expected)
  return new InvalidOptionError(`unknown option '${name}'. ${suggest(name, known)}`)
}

function refuse (is: string): never {
  throw new OptionError('store', is, EXPECTED)
}

const namesOf = (value: object): string => Object.keys(value).slice(0, 10).join(', ') || 'nothing in it'

export const isStore = (value: unknown): value is MaintenanceStore =>
  isObject(value) && ['read', 'write', 'watch', 'close'].every(name => typeof value[name] === 'function')
