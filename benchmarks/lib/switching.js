/**
 * Closes and reopens a site repeatedly, and prints the longest delay of the event loop (ms) during each change.
 * Argument, as JSON: how many times, the number of sites and patterns, and `idle` to wait as long without switching.
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

const monitor = monitorEventLoopDelay({ resolution: RESOLUTION })
monitor.enable()

/** @returns the longest delay until all that the change causes is done */
async function delayOf (change) {
  await sleep(2)
  monitor.reset()
  if (!idle) await change()
  await sleep(5)
  return monitor.max / 1e6 - RESOLUTION
}

async function closeAndReopen () {
  return [
    await delayOf(() => app.maintenance.set(true, { message })),
    await delayOf(() => app.maintenance.set(false))
  ]
}

for (let i = 0; i < 5; i++) await closeAndReopen()
const delays = []
for (let i = 0; i < switches; i++) delays.push(...await closeAndReopen())
console.log(JSON.stringify(delays))
await app.close()
