// Metrics of maintenance, beside those that fastify-metrics has of requests.
import Fastify from 'fastify'
import metrics from 'fastify-metrics'
import maintenance, { type MaintenanceStatus } from 'fastify-maintenance'

export async function createApp () {
  const app = Fastify()
  // before maintenance, so that blocked requests are measured too, as 503
  await app.register(metrics.default, { endpoint: '/metrics', defaultMetrics: { enabled: false }, clearRegisterOnInit: true })
  const { Counter, Gauge, register } = app.metrics.client

  const blocked = new Counter({ name: 'maintenance_blocked_total', help: 'Requests blocked', labelNames: ['site', 'reason'] })
  await app.register(maintenance, {
    ignore: { routes: '/metrics' },
    onBlocked: ({ maintenance: { site, reason } }) => blocked.inc({ site: site ?? 'unknown', reason })
  })

  // read when Prometheus asks
  const of = (value: (status: MaintenanceStatus) => number) => ({
    labelNames: ['site'],
    registers: [],
    collect (this: { reset: () => void, inc: (labels: { site: string }, value: number) => void }) {
      this.reset()
      for (const site of app.maintenance.sites) this.inc({ site }, value(app.maintenance.for(site).status()))
    }
  })
  const told = [
    new Gauge({ name: 'maintenance_active', help: '1 while the site is closed', ...of(status => Number(status.active)) }),
    new Gauge({ name: 'maintenance_held', help: 'Requests that wait', ...of(status => status.held) }),
    new Gauge({ name: 'maintenance_store_connected', help: '0 while the store cannot be read', ...of(status => Number(status.store.connected)) }),
    new Counter({ name: 'maintenance_let_through_total', help: 'Requests let through while closed', ...of(status => status.counts.ignored) })
  ]
  for (const metric of told) register.registerMetric(metric)

  app.get('/', async () => 'open')
  app.get('/about', { config: { maintenance: 'off' } }, async () => 'always open')
  app.get('/legacy', { config: { maintenance: 'on' } }, async () => 'never seen')
  return app
}
