import { randomUUID } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import type { MaintenanceStore, WriteOptions } from '../../../types/index.ts'
import { ConflictError, messageOf, UnreadableError } from '../../errors.ts'
import { createClock } from './clock.ts'
import type { Client } from './client.ts'
import { COMMAND_TIMEOUT } from './client.ts'
import type { Connector } from './connect.ts'
import { clean, isReply, isTimeout, outcome } from './errors.ts'
import { listen } from './listen.ts'
import { end, explain, isStale, reconnect, whenReady } from './ready.ts'
import { runScript } from './run-script.ts'
import { HEARTBEAT, HEARTBEATS, WRITE } from './script.ts'

export interface RedisStoreOptions {
  /** Before every key and channel. */
  readonly prefix: string
  /** The sites whose changes are listened for. */
  readonly sites: readonly string[]
}

/**
 * Keeps the state in Redis: for each site a hash with the record and its revision, a list with its history, and a
 * channel for notifications; and two keys for all servers. Each key family shares a hash tag, so that a cluster keeps
 * it together.
 */
export function createRedisStore (
  { keyPrefix, connect }: Pick<Connector, 'keyPrefix' | 'connect'>,
  { prefix, sites }: RedisStoreOptions
): MaintenanceStore {
  const commands = connect()
  const clock = createClock()
  let connecting: Promise<void> | null = null
  let listener: Client | undefined
  let stopListening = () => {}

  const keyOf = (site: string): string => `${keyPrefix}${prefix}{${site}}`
  const historyOf = (site: string): string => `${keyOf(site)}:history`
  const channelOf = (site: string): string => `${keyOf(site)}:changes`
  // no site can have this name
  const servers = keyOf(':servers')
  const serverKeys: [string, string] = [servers, `${servers}:until`]

  /** Sends a command as soon as there is a connection; one that does not answer is replaced. */
  async function ask<T> (command: () => Promise<T>): Promise<T> {
    // a thousand sites share one wait
    connecting ??= whenReady(commands).finally(() => {
      connecting = null
    })
    await connecting
    return command().catch(error => {
      if (isTimeout(error) || isStale(commands, error)) reconnect(commands)
      throw explain(commands, error)
    })
  }

  async function read (site: string): Promise<string | null> {
    const [[record, revision]] = await ask(() =>
      Promise.all([commands.hmget(keyOf(site), 'record', 'rev'), clock.check(commands)])
    ).catch(error => {
      throw isReply(error, 'WRONGTYPE')
        ? new UnreadableError(`the key ${keyOf(site)} holds something else: ${messageOf(error)}`)
        : clean(error)
    })
    if (record === null && revision !== null) throw new UnreadableError(`the key ${keyOf(site)} holds no record`)
    return record ?? null
  }

  async function write (
    site: string,
    record: string,
    { revision, expectedRevision, skipHistory = false }: WriteOptions
  ): Promise<void> {
    const begin = performance.now()
    const token = randomUUID()

    function send (): Promise<unknown> {
      const now = clock.now()
      const latest = now + COMMAND_TIMEOUT - Math.round(performance.now() - begin)
      return runScript(
        commands,
        WRITE,
        [keyOf(site), historyOf(site)],
        record,
        revision,
        expectedRevision ?? '',
        channelOf(site),
        now,
        latest,
        token,
        skipHistory ? 'skip' : ''
      )
    }

    /** In time by our clock, late by that of Redis: the clocks differ, each node of a cluster has its own. */
    async function sendAgain (error: Error): Promise<unknown> {
      if (!isReply(error, 'LATE')) throw error
      clock.hear(Number(error.message.slice(5)))
      return send()
    }

    const stored = await ask(() => send().catch(sendAgain)).catch(error => {
      throw outcome(error)
    })
    if (stored !== -1) throw new ConflictError(stored, expectedRevision)
  }

  async function listHistory (site: string, limit: number): Promise<string[]> {
    return ask(() => commands.lrange(historyOf(site), 0, limit - 1)).catch(error => {
      throw clean(error)
    })
  }

  async function heartbeat (server: string, entry: string, ttl: number): Promise<boolean> {
    return (
      (await ask(() => runScript(commands, HEARTBEAT, serverKeys, server, entry, ttl)).catch(error => {
        throw clean(error)
      })) === 1
    )
  }

  async function heartbeats (): Promise<string[]> {
    const [entries] = await ask(() =>
      Promise.all([runScript(commands, HEARTBEATS, serverKeys), clock.check(commands)])
    ).catch(error => {
      throw clean(error)
    })
    return (entries as (string | null)[]).filter(entry => entry !== null)
  }

  /** Begins with the first connection, however long that takes. */
  function watch (onHint: (site?: string) => void): Promise<void> {
    const client = connect()
    listener = client
    const siteOf = new Map(sites.map(site => [channelOf(site), site]))
    client.on('message', channel => onHint(siteOf.get(channel)))
    // after an outage both connections come back, each at its own time
    commands.on('ready', () => onHint())
    return new Promise((resolve, reject) => {
      stopListening = listen(client, {
        channels: [...siteOf.keys()],
        onSubscribed () {
          onHint()
          resolve()
        },
        onRefused: reject
      })
    })
  }

  function close (): void {
    stopListening()
    end(commands)
    if (listener !== undefined) end(listener)
  }

  return { read, write, listHistory, heartbeat, heartbeats, watch, close, now: clock.now }
}
