import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { FastifyMaintenanceOptions } from '../../types/index.ts'
import { ADDRESS_EXPECTED, describeAddress, parseAddress } from '../stores/address.ts'
import { readStore, type StoreOption } from '../stores/options.ts'
import { isTable, TABLE_EXPECTED } from '../stores/sql/dialect.ts'
import { importModule } from '../util/import-module.cjs'
import { isObject } from '../util/validate.ts'
import { reasonOf, UsageError } from './output.ts'
import { showWord } from './tokens.ts'

/** Where the state is kept. */
export type StoreAddress =
  | { readonly redis: string, readonly prefix?: string }
  | { readonly file: string }
  | { readonly sql: { readonly client: string, readonly table?: string } }
  /** The path of a module that exports what the option `store` takes, or a function that returns it. */
  | { readonly module: string }

/** An address, and the folder that its paths are relative to. */
interface Found { readonly address: string, readonly folder: string, readonly prefix?: string | undefined }

const VARIABLE = 'MAINTENANCE_STORE'
const KEY = 'fastify-maintenance'
const SOURCES = `by --store, the variable ${VARIABLE}, the key "${KEY}" of package.json, or ${VARIABLE} in .env`

/**
 * Reads the address of the store: from the option, else the environment, else package.json, else .env.
 * @throws UsageError
 */
export function findStore (
  option: string | undefined,
  prefix: string | undefined,
  env: NodeJS.ProcessEnv
): StoreAddress {
  const folder = process.cwd()
  const address = option ?? env[VARIABLE]
  const found = address !== undefined ? { address, folder } : (readPackage(folder) ?? readDotEnv(folder))
  if (found === null) {
    throw new UsageError(
      `no store: expected ${ADDRESS_EXPECTED}, or the path of a module such as ./store.mjs, ${SOURCES}`
    )
  }
  return withPrefix(toAddress(found), prefix ?? found.prefix)
}

function toAddress ({ address, folder }: Found): StoreAddress {
  if (/^[./].*\.[cm]?js$/.test(address)) return { module: resolve(folder, address) }
  const store = parseAddress(address)
  if (store === null) {
    throw new UsageError(
      `the store is ${describeAddress(address)}, expected ${ADDRESS_EXPECTED}, or the path of a module such as ./store.mjs, ${SOURCES}`
    )
  }
  if ('sql' in store) {
    return {
      sql: { client: store.sql.replace(/^(sqlite:)(.*)/, (_all, scheme, path) => scheme + resolve(folder, path)) }
    }
  }
  return 'file' in store ? { file: resolve(folder, store.file) } : store
}

function withPrefix (store: StoreAddress, prefix: string | undefined): StoreAddress {
  if (prefix === undefined) return store
  if ('sql' in store) return isTable(prefix) ? { sql: { ...store.sql, table: prefix } } : refusePrefix(prefix)
  if (!('redis' in store)) throw new UsageError('--prefix is for a store in Redis or a database')
  return { ...store, prefix }
}

function refusePrefix (prefix: string): never {
  throw new UsageError(`--prefix ${showWord(prefix)}: expected ${TABLE_EXPECTED}`)
}

/** `"fastify-maintenance": "redis://…"` or `{ "store": "redis://…", "prefix": "…" }` in the nearest package.json. */
function readPackage (start: string): Found | null {
  const folder = nearest(start)
  if (folder === null) return null
  const file = join(folder, 'package.json')
  const value = parseJson(file)
  const entry = isObject(value) ? value[KEY] : undefined
  if (entry === undefined) return null
  const { store, prefix } = isObject(entry) ? entry : { store: entry, prefix: undefined }
  if (typeof store === 'string' && (prefix === undefined || typeof prefix === 'string')) {
    return { address: store, folder, prefix }
  }
  throw new UsageError(
    `${file}: "${KEY}" must be an address, or an object with "store" and, for Redis or a database, "prefix"`
  )
}

function nearest (folder: string): string | null {
  if (existsSync(join(folder, 'package.json'))) return folder
  const parent = dirname(folder)
  return parent === folder ? null : nearest(parent)
}

function parseJson (file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${reasonOf(error)}`)
  }
}

const LINE = new RegExp(`^\\s*(?:export\\s+)?${VARIABLE}\\s*=\\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^#\\s]*))`, 'm')

function readDotEnv (folder: string): Found | null {
  const file = join(folder, '.env')
  const [, double, single, bare] = existsSync(file) ? LINE.exec(readFileSync(file, 'utf8')) ?? [] : []
  const address = double ?? single ?? bare ?? ''
  return address === '' ? null : { address, folder }
}

/** Where the state is kept, without credentials. */
export function describeStore (store: StoreAddress): string {
  if ('module' in store) return store.module
  if ('file' in store) return store.file
  const address = 'sql' in store ? store.sql.client : store.redis
  if (address.startsWith('sqlite:')) return address.slice('sqlite:'.length)
  const { protocol, host, pathname } = new URL(address)
  return `${protocol}//${host}${pathname}`
}

/**
 * Loads what a module exports by default, or lets its function create it: anything that the option `store` takes.
 * @throws UsageError if there is no such thing; what the function throws
 */
export async function loadStore (file: string): Promise<StoreOption> {
  const exported: unknown = await loadModule(file)
  const option: unknown = typeof exported === 'function' ? await exported() : exported
  if (option === undefined || option === 'memory') {
    throw new UsageError(
      `${file} has to export a store by default, or what the option store takes such as { redis: client }, or a function that returns one of them`
    )
  }
  try {
    return readStore(option as FastifyMaintenanceOptions['store'])
  } catch (error) {
    throw new UsageError(`${file}: ${reasonOf(error)}`)
  }
}

async function loadModule (file: string): Promise<unknown> {
  try {
    return (await importModule(pathToFileURL(file).href)).default
  } catch (error) {
    throw new UsageError(`the store cannot be loaded from ${file}: ${reasonOf(error)}`)
  }
}
