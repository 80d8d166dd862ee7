import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../errors.ts'
import { withTimeout } from '../../util/timeout.ts'
import type { Client, ClientOptions } from './client.ts'

/** What an application renews while it runs. */
const NAMES = ['username', 'password', 'sentinelUsername', 'sentinelPassword', 'tls'] as const
type Credentials = { readonly [name in typeof NAMES[number]]?: unknown }

/** A function that gives a credential has failed if it takes longer, ms. */
const ANSWER_TIMEOUT = 2000
const late = (): Error => new Error(`the credentials of store.redis did not arrive within ${ANSWER_TIMEOUT} ms`)

/** `options` then says what `source` says, whenever ioredis reads it: before each connection. */
function follow (options: object, source: (name: typeof NAMES[number]) => unknown): void {
  for (const name of NAMES) {
    Object.defineProperty(options, name, { get: () => source(name), enumerable: true, configurable: true })
  }
}

/**
 * Each connection of `copy` is made with the credentials that `source` has at that moment; functions are called for
 * them.
 */
export function followCredentials (copy: Client, source: Client, retryDelay: (times: number) => number): void {
  if (copy.isCluster) return followInCluster(copy, source)
  if (!NAMES.some(name => typeof source.options[name] === 'function')) {
    return follow(copy.options, name => source.options[name])
  }
  let current: Credentials = {}
  follow(copy.options, name => current[name])
  connectAfter(copy, async () => { current = await ask(source.options) }, retryDelay)
}

/** Nodes come and go, each with options of its own; some are copied when the cluster is made. */
function followInCluster (copy: Client, source: Client): void {
  copy.on('+node', node => {
    const own: Credentials = { ...node.options }
    follow(node.options, name => source.options.redisOptions?.[name] ?? own[name])
  })
}

async function ask (options: ClientOptions): Promise<Credentials> {
  const entries = NAMES.map(async name => {
    const value = options[name]
    return [name, typeof value === 'function' ? await askOne(name, value as () => unknown) : value] as const
  })
  return Object.fromEntries(await Promise.all(entries))
}

async function askOne (name: string, credential: () => unknown): Promise<string> {
  try {
    const value = await credential()
    if (typeof value !== 'string' || value === '') {
      throw new Error(`it returned ${value === '' ? 'empty text' : typeof value}`)
    }
    return value
  } catch (error) {
    throw new Error(`the function store.redis.${name} failed: ${messageOf(error)}`)
  }
}

/**
 * A client must not connect without its credentials: Redis may take it for another user. It asks again until it is
 * closed.
 */
function connectAfter (client: Client, prepare: () => Promise<void>, retryDelay: (times: number) => number): void {
  const connect = client.connect.bind(client)
  const disconnect = client.disconnect.bind(client)
  const closing = new AbortController()
  let connecting: Promise<unknown> | null = null

  async function connectPrepared (): Promise<unknown> {
    for (let times = 1; !closing.signal.aborted; times++) {
      const problem = await withTimeout(prepare(), ANSWER_TIMEOUT, late).catch((error: Error) => error)
      if (closing.signal.aborted) break
      if (problem === undefined) return connect()
      client.emit('error', problem)
      await sleep(retryDelay(times), undefined, { ref: false })
    }
  }

  client.connect = () => {
    connecting ??= connectPrepared().finally(() => { connecting = null })
    return connecting
  }
  client.disconnect = reconnect => {
    if (reconnect !== true) closing.abort()
    disconnect(reconnect)
  }
}
