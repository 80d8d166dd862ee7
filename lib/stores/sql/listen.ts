import { withTimeout } from '../../util/timeout.ts'
import { QUERY_TIMEOUT } from './errors.ts'
import { createLink, type Connect, type Connection } from './link.ts'

/** How often the listening connection is checked, ms: one that does not answer is replaced. */
const WATCHDOG_INTERVAL = 2000

/**
 * Listens on a connection of its own; after an outage, on a new one.
 * @param onListening called whenever it begins to listen
 * @returns the way to stop
 */
export function listen (connect: Connect, statement: string, onListening: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const link = createLink(connectAndListen)

  async function connectAndListen (onLost: () => void): Promise<Connection> {
    const connection = await connect(onLost)
    try {
      await withTimeout(connection.query(statement, []), QUERY_TIMEOUT)
    } catch (error) {
      connection.destroy()
      throw error
    }
    // what was announced before was missed
    onListening()
    return connection
  }

  /** Any statement will do: a lost connection is replaced to run it. */
  async function look (): Promise<void> {
    await link.query('SELECT 1', []).catch(() => {})
    if (!stopped) timer = setTimeout(look, WATCHDOG_INTERVAL * (0.5 + Math.random() / 2)).unref()
  }

  look()
  return () => {
    stopped = true
    clearTimeout(timer)
    link.close()
  }
}
