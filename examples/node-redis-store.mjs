import { conflict, outcomeUnknown } from 'fastify-maintenance'
import { ClientOfflineError, createClient, ErrorReply } from 'redis'

/** Compares, writes, keeps the last 100 for the history, and notifies, in one step. */
const WRITE = `
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if ARGV[3] ~= '' and ARGV[3] ~= revision then return revision end
redis.call('HSET', KEYS[1], 'record', ARGV[1], 'revision', ARGV[2])
if ARGV[4] == 'true' then
  redis.call('LPUSH', KEYS[2], ARGV[1])
  redis.call('LTRIM', KEYS[2], 0, 99)
end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return false`

/** Keeps the state in Redis through the package redis. @param options those of its `createClient` */
export function createNodeRedisStore (options, prefix = 'maintenance:') {
  const client = createClient({ ...options, disableOfflineQueue: true }).on('error', () => {})
  const listener = client.duplicate().on('error', () => {})
  const connected = client.connect()
  connected.catch(() => {}) // `close` came first
  const servers = `${prefix}:servers`
  const keyOf = site => `${prefix}${site}`
  const historyOf = site => `${prefix}${site}:history`
  const entryOf = server => `${servers}:${server}`

  return {
    async read (site) {
      await connected
      return client.hGet(keyOf(site), 'record')
    },
    async write (site, record, { revision, expectedRevision = '', skipHistory = false }) {
      await connected
      const args = [record, revision, expectedRevision, !skipHistory, `${prefix}changes`, site].map(String)
      const stored = await client.eval(WRITE, { keys: [keyOf(site), historyOf(site)], arguments: args }).catch(error => {
        const wasRefused = error instanceof ErrorReply || error instanceof ClientOfflineError
        throw wasRefused ? error : outcomeUnknown(error)
      })
      if (stored !== null) throw conflict(Number(stored), expectedRevision)
    },
    async listHistory (site, limit) {
      await connected
      return client.lRange(historyOf(site), 0, limit - 1)
    },
    async heartbeat (server, entry, ttl) {
      await connected
      await (ttl === 0
        ? client.multi().del(entryOf(server)).sRem(servers, server).exec()
        : client.multi().set(entryOf(server), entry, { PX: ttl }).sAdd(servers, server).exec())
    },
    async heartbeats () {
      await connected
      const ids = await client.sMembers(servers)
      const entries = ids.length === 0 ? [] : await client.mGet(ids.map(entryOf))
      const expired = ids.filter((_, i) => entries[i] === null)
      if (expired.length > 0) await client.sRem(servers, expired)
      return entries.filter(entry => entry !== null)
    },
    async watch (onChange) {
      listener.on('ready', () => onChange()) // what was published before it is lost
      await listener.connect()
      await listener.subscribe(`${prefix}changes`, site => onChange(site))
    },
    close () {
      for (const each of [client, listener]) if (each.isOpen) each.destroy()
    }
  }
}
