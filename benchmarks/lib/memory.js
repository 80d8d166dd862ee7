/**
 * Prints how much memory the plugin needs for 10,000 patterns and 100,000 addresses. Argument: the plugin's module.
 * Needs --expose-gc.
 */
import { createApp } from './scenarios.js'

const [plugin] = process.argv.slice(2)
const apps = []

async function used () {
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** Memory of one more application in this scenario. */
async function costOf (name) {
  const before = await used()
  apps.push(await createApp(plugin, name, () => {}))
  return await used() - before
}

// warm-up: the first application also loads and compiles the code
await costOf('open, many rules')
const few = await costOf('open')
const many = await costOf('open, many rules')
console.log(JSON.stringify({ bytes: many - few }))
