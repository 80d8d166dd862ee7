import type {
  CustomStoreOptions,
  FastifyMaintenanceOptions,
  FileStoreOptions,
  MaintenanceStore,
  RedisStoreOptions,
  SqlOptions,
  StoreExtras
} from '../../types/index.ts'
import { InvalidOptionError, OptionError, show, showType } from '../errors.ts'
import { suggest } from '../util/did-you-mean.ts'
import { checkShape, isObject, text, type Shape } from '../util/validate.ts'
import { duration } from '../util/duration.ts'
import { ADDRESS_EXPECTED, describeAddress, parseAddress } from './address.ts'
import { checkRedis } from './redis/check.ts'
import { checkSql } from './sql/check.ts'

/** The option `store`, with an address read. */
export type StoreOption =
  'memory' | FileStoreOptions | RedisStoreOptions | SqlOption | CustomStoreOptions | MaintenanceStore

export interface SqlOption extends StoreExtras { readonly sql: SqlOptions }

const STORE_EXPECTED = 'an object with the functions read, write, watch and close'
const EXPECTED = `'memory', ${ADDRESS_EXPECTED}, { file: 'path' }, { redis: … }, { sql: … }, { custom: … }, or ${STORE_EXPECTED}`

const path = text(4096)

const EXTRAS: Shape = { mirror: path, pollInterval: duration(100, 3_600_000) }

const anything = { expected: '', test: () => true }

/** What stands beside `redis`. */
const REDIS: Shape = {
  redis: anything,
  // a cluster keeps a site's keys together by what stands in the first braces
  prefix: {
    expected: "text without control characters and without '{}'",
    // eslint-disable-next-line no-control-regex -- it looks for control characters
    test: value => typeof value === 'string' && !/[\u0000-\u001f]|\{\}/.test(value) && value.length <= 200
  },
  ...EXTRAS
}

/** What can stand in an object, by the name that says which store it is. */
export const SHAPES: { readonly [kind in 'file' | 'redis' | 'sql' | 'custom']: Shape } = {
  file: { file: path, ...EXTRAS },
  redis: REDIS,
  sql: { sql: anything, ...EXTRAS },
  custom: { custom: { expected: STORE_EXPECTED, test: value => isStore(value) }, ...EXTRAS }
}

/**
 * Checks the option `store`.
 * @throws FST_ERR_MAINTENANCE_OPTION, without what may be a secret
 */
export function readStore (option: FastifyMaintenanceOptions['store'] = 'memory'): StoreOption {
  if (option === 'memory' || isStore(option)) return option
  if (typeof option === 'string') return readAddress(option)
  if (!isObject(option)) return refuse(option === null ? 'null' : `of type ${typeof option}`)
  const kind = (Object.keys(SHAPES) as (keyof typeof SHAPES)[]).find(kind => kind in option)
  if (kind === undefined) return refuse(`an object with ${namesOf(option)}`)
  checkShape(SHAPES[kind], option, fail, 'store')
  if (kind === 'sql') return { ...option, sql: readSql(option.sql) }
  if (kind === 'redis') checkRedis(option.redis)
  else if (option[kind] === undefined) return refuse(`an object with ${namesOf(option)}`)
  return option as unknown as StoreOption
}

function readAddress (address: string): StoreOption {
  const store = parseAddress(address) ?? refuse(describeAddress(address))
  return 'sql' in store ? { sql: readSql(store.sql) } : store
}

const readSql = (sql: unknown): SqlOptions => checkSql(typeof sql === 'string' ? { client: sql } : sql, 'store.sql')

function fail (name: string, value: unknown, expected: string, known?: readonly string[]): Error {
  if (known === undefined) {
    // an object may contain what belongs elsewhere, such as the password of a client
    const isSecret = name === 'store.custom' || typeof value === 'object'
    return new OptionError(name, isSecret ? showType(value) : show(value), expected)
  }
  return new InvalidOptionError(`unknown option '${name}'. ${suggest(name, known)}`)
}

function refuse (is: string): never {
  throw new OptionError('store', is, EXPECTED)
}

const namesOf = (value: object): string => Object.keys(value).slice(0, 10).join(', ') || 'nothing in it'

export const isStore = (value: unknown): value is MaintenanceStore =>
  isObject(value) && ['read', 'write', 'watch', 'close'].every(name => typeof value[name] === 'function')
