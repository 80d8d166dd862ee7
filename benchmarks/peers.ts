// What would one take instead, on the same work? Run with `npx tsx benchmarks/peers.ts`.
import { startRedis } from '../test/fixtures/redis.ts'
import { compareOverSockets, type Candidate } from './lib/http.ts'

const endings: (() => unknown)[] = []
const redis = await startRedis({ teardown: work => { endings.push(work) } })
await redis.client.set('closed', '1')
const asking = (key: string) => ({ server: 'ask-redis', env: { REDIS_URL: redis.url, REDIS_KEY: key } })
const refused = { statusCode: 503 }

const candidates: Candidate[] = [
  { server: 'bare', label: 'nothing' },
  { server: 'bare', label: 'nothing again (A/A)' },
  { server: 'off', label: 'fastify-maintenance, open' },
  { server: 'under-pressure', label: '@fastify/under-pressure, a health check that says yes' },
  { ...asking('open'), label: 'a hook that asks Redis on every request, open' },
  { server: 'express', label: 'Express 5, a middleware by hand, open' },
  { server: 'on', label: 'fastify-maintenance, closed', ...refused },
  { server: 'under-pressure-on', label: '@fastify/under-pressure, a health check that says no', ...refused },
  { ...asking('closed'), label: 'a hook that asks Redis on every request, closed', ...refused },
  { server: 'express-on', label: 'Express 5, a middleware by hand, closed', ...refused }
]
await compareOverSockets([{ title: 'Instead of this plugin, over sockets', candidates }])
for (const end of endings.reverse()) await end()

// of another language and another server: not in the same table, and not by the same command
console.log(`Django's packages, CPU time per request over none of them, as measured for this project with Django 5.2 under gunicorn on loopback:
django-maintenance-mode open +10 µs (fixed in the settings), +32 µs (a local file, its default), +144 µs (the cache in Redis); closed +85, +109, +255 µs.
django-maintenancemode-2 (SQLite): open +619 µs, closed +930 µs.
`)
