import type { SqlOptions } from '../../../types/index.ts'
import { InvalidOptionError, OptionError, show, showType } from '../../errors.ts'
import { suggest } from '../../util/did-you-mean.ts'
import { bool, checkShape, func, isObject, literal, type Shape } from '../../util/validate.ts'
import { describeAddress, isSqlAddress } from '../address.ts'
import { isTable, TABLE_EXPECTED } from './dialect.ts'

export const CLIENT_EXPECTED =
  "an address such as 'postgres://user@host/database', a pool of pg or mysql2, fastify.pg, fastify.mysql, knex, " +
  'or a database of better-sqlite3 or node:sqlite; for anything else { query, dialect }'

export const SQL: Shape = {
  client: {
    expected: CLIENT_EXPECTED,
    test: value => typeof value === 'string' ? isSqlAddress(value) : isObject(value) || typeof value === 'function'
  },
  query: func,
  dialect: literal('postgres', 'mysql', 'sqlite'),
  table: { expected: TABLE_EXPECTED, test: isTable },
  createTables: bool
}

/**
 * Checks what says where a SQL database is, and how it is asked.
 * @param at the name of the option
 * @throws FST_ERR_MAINTENANCE_OPTION, without what may be a secret
 */
export function checkSql (options: unknown, at = 'sql'): SqlOptions {
  checkShape(SQL, options, fail, at)
  const { client, query, dialect } = options as SqlOptions
  if ((client === undefined) === (query === undefined)) {
    throw new OptionError(
      at,
      client === undefined ? 'neither a client nor a query' : 'both a client and a query',
      CLIENT_EXPECTED
    )
  }
  if (isObject(client) && typeof client.then === 'function') {
    throw new OptionError(`${at}.client`, 'a Promise', 'what it resolves to: await it')
  }
  if (query !== undefined && dialect === undefined) {
    throw new OptionError(`${at}.dialect`, 'undefined', "'postgres', 'mysql' or 'sqlite', with a function query")
  }
  return options as SqlOptions
}

function fail (name: string, value: unknown, expected: string, known?: readonly string[]): Error {
  if (known !== undefined) return new InvalidOptionError(`unknown option '${name}'. ${suggest(name, known)}`)
  const isHarmless = /\.(dialect|table|createTables)$/.test(name)
  return new OptionError(
    name,
    isHarmless ? show(value) : typeof value === 'string' ? describeAddress(value) : showType(value),
    expected
  )
}
