const DAY = 86_400_000

/**
 * Compares, writes, remembers and tells, in one step.
 *
 * KEYS: the site's hash (`rev`, `record`, `token`), the site's history.
 * ARGV: record, its revision, the expected revision (or empty: write over anything), channel,
 * the time of the store in ms as the writer sees it, the latest time at which this may still be written, a token of
 * this write, `skip` if the write must stay out of the history.
 *
 * A cluster's client sends a write once more when its connection broke: the token tells that it is done.
 * An invalid revision, or one more than a day ahead, counts as 0, so that nothing locks an operator out;
 * a key of another type likewise, and is replaced. The history keeps the last 100. What may fail (an ACL without
 * TIME, LPUSH or PUBLISH) fails without harm to the write.
 * @returns the stored revision where it is another than the expected one, else -1
 */
export const WRITE = `
local held = redis.pcall('HMGET', KEYS[1], 'rev', 'token')
if held.err and not string.find(held.err, '^WRONGTYPE') then return held end
if held[2] == ARGV[7] then return -1 end

local now = tonumber(ARGV[5])
local time = redis.pcall('TIME')
if time[1] then now = time[1] * 1000 + math.floor(time[2] / 1000) end
if now > tonumber(ARGV[6]) then return redis.error_reply(string.format('LATE %.0f', now)) end

local revision = tonumber(held[1] or 0) or 0
if revision ~= math.floor(revision) or revision < 0 or revision > now + ${DAY} then revision = 0 end
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= revision then return revision end

if held.err then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'rev', ARGV[2], 'record', ARGV[1], 'token', ARGV[7])
local last = redis.pcall('LINDEX', KEYS[2], 0)
if type(last) == 'table' and string.find(last.err, '^WRONGTYPE') then redis.pcall('DEL', KEYS[2]) end
if last ~= ARGV[1] and ARGV[8] ~= 'skip' then
  redis.pcall('LPUSH', KEYS[2], ARGV[1])
  redis.pcall('LTRIM', KEYS[2], 0, 99)
end
redis.pcall('PUBLISH', ARGV[4], ARGV[2])
return -1
`

/** The clock of Redis: the clocks of the servers differ. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/**
 * Keeps the entry of a server, and removes those that have expired. The keys themselves don't expire: they would be the
 * first that `volatile-*` evicts.
 *
 * KEYS: the entries (a hash by id), the times at which they expire (a sorted set of ids).
 * ARGV: id, entry, ttl in ms (0: remove it).
 * @returns 1 if there was no entry
 */
export const HEARTBEAT = `
${NOW}
local isNew = 0
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  local entry = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  local expiry = redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
  isNew = math.max(entry, expiry)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
return isNew
`

/** The entries that have not expired. KEYS as above. */
export const HEARTBEATS = `
${NOW}
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf')
local entries = {}
-- more do not fit on the stack of Lua
for i = 1, #ids, 5000 do
  for _, entry in ipairs(redis.call('HMGET', KEYS[1], unpack(ids, i, math.min(i + 4999, #ids)))) do entries[#entries + 1] = entry end
end
return entries
`
