import { setImmediate as turn } from 'node:timers/promises'
import { messageOf } from '../../errors.ts'
import type { Client } from './client.ts'
import { isInterrupted, isReply, isUnsent, noConnection } from './errors.ts'

/** How long a command waits for a connection that is being made, ms. */
const READY_TIMEOUT = 1500

/** Why there is no connection, as it was told last. */
const reasons = new WeakMap<Client, string>()
const NO_ANSWER = `no answer within ${READY_TIMEOUT} ms`
/**
 * Where Redis refused the database, ioredis would go on in the database 0; where it refused the password, ioredis 5
 * calls the connection ready all the same.
 */
const astray = new WeakSet<Client>()
const HANDSHAKE = ['select', 'auth', 'hello']

const isReady = (client: Client): boolean => client.status === 'ready' && !astray.has(client)

/** Errors reach us where they matter, by the commands that fail; unheard events would be printed. */
export function watchConnection (client: Client): Client {
  reasons.set(client, NO_ANSWER)
  client.on('error', error => {
    reasons.set(client, messageOf(error.lastNodeError ?? error))
    const command = error.command?.name ?? ''
    if (HANDSHAKE.includes(command)) astray.add(client)
    if (command === 'select') client.disconnect(true)
  })
  client.on('close', () => astray.delete(client))
  client.on('ready', () => { if (isReady(client)) reasons.set(client, NO_ANSWER) })
  return client
}

const whyNotReady = (client: Client): Error => noConnection(reasons.get(client) as string)

/**
 * The error of a command, in the same words for all clients: ioredis 5 and iovalkey still send commands, or refuse to
 * in words of their own, while Redis refuses the password.
 */
export function explain (client: Client, error: Error): Error {
  if (isInterrupted(error)) return new Error('the connection closed before Redis answered')
  /* c8 ignore next -- ioredis 5 and iovalkey: npm run test:redis5 */
  return isUnsent(error) || (isReply(error, 'NOAUTH') && astray.has(client)) ? whyNotReady(client) : error
}

/** Waits for a connection that is being made; one that breaks, or takes too long, is an error. */
export function whenReady (client: Client): Promise<void> {
  if (isReady(client)) return Promise.resolve()
  if (client.status === 'wait') client.connect().catch(() => {})
  return new Promise((resolve, reject) => {
    const timer = setTimeout(settle, READY_TIMEOUT)
    function settle (): void {
      clearTimeout(timer)
      client.off('ready', settle).off('close', settle).off('end', settle)
      if (isReady(client)) resolve()
      else reject(whyNotReady(client))
    }
    client.on('ready', settle).on('close', settle).on('end', settle)
  })
}

const broken = new WeakSet<Client>()

const ended = new WeakSet<Client>()

/** Closes the connection for good. */
export function end (client: Client): void {
  ended.add(client)
  client.disconnect()
}

/** How long a connection that is cut may take to close, ms. */
const CLOSE_TIMEOUT = 1000

/** A half-open connection looks healthy forever: one that does not answer is cut and replaced. */
export function reconnect (client: Client): void {
  if (client.status !== 'ready' || broken.has(client)) return
  broken.add(client)
  const onClose = (): void => {
    clearTimeout(timer)
    broken.delete(client)
  }
  const timer = setTimeout(connectAgain, CLOSE_TIMEOUT, client, onClose).unref()
  client.once('close', onClose)
  client.disconnect(true)
}

/**
 * ioredis 5 may report a connection as ready after it has closed, if the handshake was not answered. Then nothing can
 * be sent, no `close` follows, and because of its status, ioredis would not connect again.
 */
export const isStale = (client: Client, error: Error): boolean => isUnsent(error) && isReady(client)

/* c8 ignore start -- ioredis 5: npm run test:redis5 */
async function connectAgain (client: Client, onClose: () => void): Promise<void> {
  // if the event loop was blocked, a `close` that is due comes in the next two turns
  await turn()
  await turn()
  if (!broken.has(client)) return
  client.off('close', onClose)
  broken.delete(client)
  if (client.status !== 'ready' || ended.has(client)) return
  client.status = 'end'
  client.connect().catch(() => {})
}
/* c8 ignore stop */
