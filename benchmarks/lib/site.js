/**
 * A server of a site, in a process of its own. Argument: the plugin's options as JSON. Tells its parent where it
 * listens, then carries out what it receives: `true` or `false` for `set`.
 */
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'

const app = Fastify()
await app.register(maintenance, JSON.parse(process.argv[2]))
app.get('/', async () => 'open')
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.on('disconnect', () => process.exit())
process.on('message', async on => {
  await app.maintenance.set(on)
  process.send('done')
})
process.send(url)
