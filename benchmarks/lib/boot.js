/**
 * Boots one application with a plugin. Argument: the plugin's module. Prints how long it took to load and to become
 * ready (ms), and how much the heap grew (MB). Needs --expose-gc.
 */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const Fastify = require('fastify')
const [plugin] = process.argv.slice(2)

function heap () {
  globalThis.gc()
  return process.memoryUsage().heapUsed / 2 ** 20
}

const app = Fastify()
const before = heap()
const begin = performance.now()
const module = plugin === undefined ? null : require(plugin)
const loaded = performance.now()
if (module !== null) await app.register(module)
app.get('/', async () => 'open')
await app.ready()
const ready = performance.now()
console.log(JSON.stringify({ load: loaded - begin, ready: ready - loaded, heap: heap() - before }))
await app.close()
