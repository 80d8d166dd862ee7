// How do the alternatives perform at the same work? Run with `npx tsx benchmarks/peers.ts`.
import { startRedis } from '../test/fixtures/redis.ts'
import { compareOverSockets, type Candidate } from './lib/http.ts'

const endings: (() => unknown)[] = []
const redis = await startRedis({ teardown: work => { endings.push(work) } })
await redis.client.set('closed', '1')
const readsRedis = (key: string) => ({ server: 'redis', env: { REDIS_URL: redis.url, REDIS_KEY: key } })
const blocked = { statusCode: 503 }

const candidates: Candidate[] = [
  { server: 'bare', label: 'no plugin' },
  { server: 'bare', label: 'no plugin again (A/A)' },
  { server: 'open', label: 'fastify-maintenance, open' },
  { server: 'under-pressure, open', label: '@fastify/under-pressure, health check passes' },
  { ...readsRedis('open'), label: 'a hook that reads Redis on every request, open' },
  { server: 'express, open', label: 'Express 5, hand-written middleware, open' },
  { server: 'closed', label: 'fastify-maintenance, closed', ...blocked },
  { server: 'under-pressure, closed', label: '@fastify/under-pressure, health check fails', ...blocked },
  { ...readsRedis('closed'), label: 'a hook that reads Redis on every request, closed', ...blocked },
  { server: 'express, closed', label: 'Express 5, hand-written middleware, closed', ...blocked }
]
// they differ so much that narrower intervals would tell nothing more
const title = 'Alternatives to the plugin, over sockets'
await compareOverSockets([{ title, candidates, narrow: 0.2, generations: 3 }])
for (const end of endings.reverse()) await end()

// another language and server, measured by other means, so not in the same table
console.log(`CPU time per request that Django's packages add, measured once with Django 5.2 under gunicorn on loopback:

- django-maintenance-mode, open: +10 µs (state in the settings), +32 µs (in a local file, its default),
  +144 µs (in a cache on Redis); closed: +85, +109 and +255 µs
- django-maintenancemode-2 (SQLite), open: +619 µs; closed: +930 µs
`)
