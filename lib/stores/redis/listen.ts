import { withTimeout } from '../../util/timeout.ts'
import type { Client } from './client.ts'
import { COMMAND_TIMEOUT } from './client.ts'
import { clean, isReply } from './errors.ts'
import { reconnect } from './ready.ts'

/** How often the connection that only listens is asked whether it still stands, ms. */
const WATCHDOG_INTERVAL = 2000

export interface ListenOptions {
  readonly channels: readonly string[]
  /** After every subscribing: what was published before it is lost. */
  readonly onSubscribed: () => void
  /** Redis does not allow it. It is tried again, it may be allowed later. */
  readonly onRefused: (error: Error) => void
}

/**
 * Subscribes after every (re)connect. Only asking shows that a connection is half open; it is asked by subscribing
 * once more, for that is answered by the very connection that listens, in a cluster as well.
 * @returns the way to stop
 */
export function listen (client: Client, { channels, onSubscribed, onRefused }: ListenOptions): () => void {
  let subscribed = false

  function subscribe (): void {
    withTimeout(client.subscribe(...channels), COMMAND_TIMEOUT).then(() => {
      subscribed = true
      onSubscribed()
    }, onFailed)
  }

  function onFailed (error: Error): void {
    if (isReply(error)) onRefused(clean(error))
    else reconnect(client)
  }

  function look (): void {
    if (client.status !== 'ready') return
    if (subscribed) withTimeout(client.subscribe(channels[0] as string), COMMAND_TIMEOUT).catch(onFailed)
    else subscribe()
  }

  client.on('ready', () => {
    subscribed = false
    subscribe()
  })
  client.connect().catch(() => {})
  const timer = setInterval(look, WATCHDOG_INTERVAL).unref()
  return () => clearInterval(timer)
}
