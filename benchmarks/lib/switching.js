/**
 * Closes and opens a site again and again, and watches the event loop. Argument: how often, and how many sites and
 * patterns there are, as JSON. Prints the delays, ms, beyond the resolution of the watch.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'
import { patternOf } from './rules.js'

const { switches, sites = 1, patterns = 0 } = JSON.parse(process.argv[2])
const app = Fastify()
await app.register(maintenance, {
  site: 'site-0',
  sites: Array.from({ length: sites }, (_, i) => `site-${i}`),
  ignore: { routes: Array.from({ length: patterns }, (_, i) => patternOf(i)) }
})
await app.ready()
const message = Object.fromEntries(['en', 'de', 'fr', 'es', 'it', 'pt', 'nl', 'pl', 'ja', 'zh'].map(language => [language, `Back soon (${language})`]))

async function change () {
  await app.maintenance.set(true, { message })
  await sleep(5)
  await app.maintenance.set(false)
  await sleep(5)
}

for (let i = 0; i < 5; i++) await change()
const watch = monitorEventLoopDelay({ resolution: 1 })
watch.enable()
for (let i = 0; i < switches; i++) await change()
watch.disable()
const ms = time => time / 1e6 - 1
console.log(JSON.stringify({ p50: ms(watch.percentile(50)), p99: ms(watch.percentile(99)), max: ms(watch.max) }))
await app.close()
