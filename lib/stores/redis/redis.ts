import type { MaintenanceStore, WriteCondition } from '../../../types/index.ts'
import { ConflictError, messageOf, StoreUnknownError, UnreadableError } from '../../errors.ts'
import { COMMAND_TIMEOUT, watchdog, whenReady, type Client, type Connector } from './connect.ts'
import { WRITE } from './script.ts'

export interface RedisStoreOptions {
  /** Before every key and channel. */
  readonly prefix: string
  /** The sites whose changes are listened for. */
  readonly sites: readonly string[]
}

type Scripted = Client & { maintenanceWrite (...args: (string | number)[]): Promise<number> }

/** How long the difference between the clocks is believed, ms. */
const CLOCK_CHECK = 1000

/**
 * State in Redis, for all servers that reach it: a hash for each site with the record and its revision, a list
 * with its history, and a channel for hints. One key family shares a hash tag, so that a cluster keeps it together.
 */
export function createRedisStore ({ keyPrefix, connect }: Connector, { prefix, sites }: RedisStoreOptions): MaintenanceStore {
  const commands = connect() as Scripted
  commands.defineCommand('maintenanceWrite', { numberOfKeys: 2, lua: WRITE })
  const clock = { offset: 0, checkedAt: -Infinity }
  let listener: Client | undefined
  let stopWatchdog = () => {}

  const keyOf = (site: string): string => `${keyPrefix}${prefix}{${site}}`
  const historyOf = (site: string): string => `${keyOf(site)}:history`
  const channelOf = (site: string): string => `${keyOf(site)}:changes`
  const now = (): number => Date.now() + clock.offset

  async function read (site: string): Promise<string | null> {
    await whenReady(commands)
    checkClock()
    const [record, revision] = await commands.hmget(keyOf(site), 'record', 'rev').catch(error => {
      throw isReply(error, 'WRONGTYPE') ? new UnreadableError(`the key ${keyOf(site)} holds something else: ${messageOf(error)}`) : clean(error)
    })
    if (record === null && revision !== null) throw new UnreadableError(`the key ${keyOf(site)} holds no record`)
    return record ?? null
  }

  /** The clock of Redis, by a question whose answer took no longer than it must; where it may not be asked, ours. */
  function checkClock (): void {
    const begin = Date.now()
    if (begin - clock.checkedAt < CLOCK_CHECK) return
    clock.checkedAt = begin
    commands.time().then(([seconds, micros]) => {
      clock.offset = Math.round(Number(seconds) * 1000 + Number(micros) / 1000 - (begin + Date.now()) / 2)
    }).catch(() => {})
  }

  async function write (site: string, record: string, { revision, expected }: WriteCondition): Promise<void> {
    await whenReady(commands)
    const arrived = now()
    const args = [record, revision, expected ?? '', channelOf(site), arrived, arrived + COMMAND_TIMEOUT]
    const stored = await commands.maintenanceWrite(keyOf(site), historyOf(site), ...args).catch(error => { throw outcome(error) })
    if (stored !== -1) throw new ConflictError(stored, expected)
  }

  async function list (site: string, limit: number): Promise<string[]> {
    await whenReady(commands)
    return commands.lrange(historyOf(site), 0, limit - 1).catch(error => { throw clean(error) })
  }

  /**
   * Subscribes after every (re)connect, and hints then: what was published meanwhile is lost.
   * Waits for the first connection, however long it takes.
   */
  function watch (onHint: (site?: string) => void): Promise<void> {
    const client = connect()
    listener = client
    stopWatchdog = watchdog(client)
    const siteOf = new Map(sites.map(site => [channelOf(site), site]))
    client.on('message', channel => onHint(siteOf.get(channel)))
    return new Promise((resolve, reject) => {
      client.on('ready', () => {
        client.subscribe(...siteOf.keys()).then(() => onHint()).then(resolve, error => reject(clean(error)))
      })
      client.connect().catch(() => {})
    })
  }

  function close (): void {
    stopWatchdog()
    commands.disconnect()
    listener?.disconnect()
  }

  return { read, write, list, watch, close, now }
}

const isReply = (error: Error, code: string): boolean => error.message.startsWith(code)

/** Without the command that failed: its arguments may hold a password. */
function clean (error: Error): Error {
  return new Error(error.message)
}

/** Redis answers with an error: refused. Nothing was sent: nothing was written. Anything else may have been carried out. */
function outcome (error: Error): Error {
  const unsent = error.message.includes("isn't writeable") || error.message.includes("isn't ready")
  return error.name === 'ReplyError' || unsent ? clean(error) : new StoreUnknownError(COMMAND_TIMEOUT, { cause: clean(error) })
}
