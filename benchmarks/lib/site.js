/**
 * One server of a site, in its own process. Argument: the plugin's options as JSON. Sends its URL to the parent
 * process, then calls `set` with each `true` or `false` that it receives.
 */
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'

const app = Fastify()
await app.register(maintenance, JSON.parse(process.argv[2]))
app.get('/', async () => 'open')
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.on('disconnect', () => process.exit())
process.on('message', async closed => {
  await app.maintenance.set(closed)
  process.send('done')
})
process.send(url)
