import { isObject } from '../../util/validate.ts'

/** A command without an answer by then has failed, ms. */
export const COMMAND_TIMEOUT = 1000

/**
 * What is used of a client of ioredis 5 and 6 or iovalkey, a Cluster included. Written out here, so that no version
 * of their types is needed.
 */
export interface Client {
  status: string
  readonly isCluster: boolean
  readonly options: ClientOptions
  connect (): Promise<unknown>
  disconnect (reconnect?: boolean): void
  duplicate (...overrides: object[]): Client
  on (event: 'error', listener: (error: CommandError) => void): this
  on (event: '+node', listener: (node: Client) => void): this
  on (event: 'message', listener: (channel: string) => void): this
  on (event: 'ready' | 'close' | 'end', listener: () => void): this
  once (event: 'close', listener: () => void): this
  off (event: 'ready' | 'close' | 'end', listener: () => void): this
  emit (event: 'error', error: Error): boolean
  hmget (key: string, ...fields: string[]): Promise<(string | null)[]>
  lrange (key: string, start: number, stop: number): Promise<string[]>
  time (): Promise<(string | number)[]>
  evalsha (digest: string, keys: number, ...args: (string | number)[]): Promise<unknown>
  eval (script: string, keys: number, ...args: (string | number)[]): Promise<unknown>
  subscribe (...channels: string[]): Promise<unknown>
}

export interface ClientOptions {
  readonly host?: unknown
  readonly port?: unknown
  readonly path?: unknown
  readonly db?: unknown
  /** Of Sentinel: the name of the master. */
  readonly name?: unknown
  readonly sentinels?: readonly unknown[] | null | undefined
  readonly keyPrefix?: string | undefined
  /** Of a Cluster. */
  readonly redisOptions?: ClientOptions | undefined
  readonly username?: unknown
  readonly password?: unknown
  readonly sentinelUsername?: unknown
  readonly sentinelPassword?: unknown
  readonly tls?: unknown
}

/** An error that may say which command failed, or why the last node of a cluster was not reached. */
export interface CommandError extends Error {
  readonly command?: { readonly name: string }
  readonly lastNodeError?: Error
}

/** Is it a client of ioredis or iovalkey? Others lack `defineCommand`; a pipeline lacks `duplicate`. */
export function isClient (value: unknown): value is Client {
  return (
    isObject(value) &&
    typeof value.duplicate === 'function' &&
    typeof value.defineCommand === 'function' &&
    isObject(value.options)
  )
}
