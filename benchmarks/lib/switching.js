/**
 * Closes and reopens a site repeatedly, and prints the delays of the event loop (ms). Argument, as JSON: how many
 * times, the number of sites and patterns, and `idle` to wait for as long without switching.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'
import { patternOf } from './rules.js'

/** Resolution of the monitor (ms), which it adds to each delay. */
const RESOLUTION = 1
const LANGUAGES = ['en', 'de', 'fr', 'es', 'it', 'pt', 'nl', 'pl', 'ja', 'zh']

const { switches, sites = 1, patterns = 0, idle = false } = JSON.parse(process.argv[2])
const app = Fastify()
await app.register(maintenance, {
  site: 'site-0',
  sites: Array.from({ length: sites }, (_, i) => `site-${i}`),
  ignore: { routes: Array.from({ length: patterns }, (_, i) => patternOf(i)) }
})
await app.ready()
const message = Object.fromEntries(LANGUAGES.map(language => [language, `Back soon (${language})`]))

async function change () {
  if (!idle) await app.maintenance.set(true, { message })
  await sleep(5)
  if (!idle) await app.maintenance.set(false)
  await sleep(5)
}

for (let i = 0; i < 5; i++) await change()
const monitor = monitorEventLoopDelay({ resolution: RESOLUTION })
monitor.enable()
for (let i = 0; i < switches; i++) await change()
monitor.disable()
const ms = time => time / 1e6 - RESOLUTION
console.log(JSON.stringify({ p50: ms(monitor.percentile(50)), p99: ms(monitor.percentile(99)), max: ms(monitor.max) }))
await app.close()
