import { messageOf } from '../../errors.ts'
import { withTimeout } from '../../util/timeout.ts'
import { isReadOnly, NoAnswerError, NoConnectionError, QUERY_TIMEOUT } from './errors.ts'

/** How long connecting may take, ms. */
export const CONNECT_TIMEOUT = 1500

/** One connection of a driver. */
export interface Connection {
  query (text: string, values: readonly unknown[]): Promise<unknown>
  /** At once, whatever is under way. */
  destroy (): void
}

/** @param onLost to be called when the connection breaks */
export type Connect = (onLost: () => void) => Promise<Connection>

/** A connection that is made when it is needed, and replaced after it broke or did not answer. */
export interface Link {
  query (text: string, values: readonly unknown[]): Promise<unknown>
  close (): void
}

export function createLink (connect: Connect): Link {
  let current: Promise<Connection> | null = null
  let closed = false

  function drop (connecting: Promise<Connection> | null): void {
    if (current === connecting) current = null
    connecting?.then(connection => connection.destroy(), () => {})
  }

  function open (): Promise<Connection> {
    if (closed) throw new NoConnectionError('the store is closed')
    const connecting: Promise<Connection> = connect(() => drop(connecting))
    current = connecting
    return connecting
  }

  async function query (text: string, values: readonly unknown[]): Promise<unknown> {
    const connecting = current ?? open()
    const connection = await withTimeout(connecting, CONNECT_TIMEOUT).catch(error => {
      drop(connecting)
      throw new NoConnectionError(`no connection: ${messageOf(error)}`)
    })
    return withTimeout(connection.query(text, values), QUERY_TIMEOUT, () => {
      drop(connecting)
      return new NoAnswerError()
    }).catch(error => {
      // after a failover, the same address leads to the new primary
      if (isReadOnly(error)) drop(connecting)
      throw error
    })
  }

  function close (): void {
    closed = true
    drop(current)
  }

  return { query, close }
}
