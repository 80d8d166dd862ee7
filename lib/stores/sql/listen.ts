import { withTimeout } from '../../util/timeout.ts'
import { QUERY_TIMEOUT } from './errors.ts'
import { createLink, type Connect, type Connection } from './link.ts'

/** How often the connection that listens is looked at: one that does not answer is made anew, ms. */
const WATCHDOG_INTERVAL = 2000

interface Listener {
  /** Settles once it listens, however long that takes. */
  readonly started: Promise<void>
  stop (): void
}

/** Listens on a connection of its own; after an outage, on a new one. */
export function listen (connect: Connect, statement: string, onListening: () => void): Listener {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  let resolve = () => {}
  const started = new Promise<void>(_resolve => { resolve = _resolve })
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
    resolve()
    return connection
  }

  /** What is asked does not matter: a lost connection is made anew for it. */
  async function look (): Promise<void> {
    await link.query('SELECT 1', []).catch(() => {})
    if (!stopped) timer = setTimeout(look, WATCHDOG_INTERVAL * (0.5 + Math.random() / 2)).unref()
  }

  look()
  return {
    started,
    stop () {
      stopped = true
      clearTimeout(timer)
      link.close()
    }
  }
}
