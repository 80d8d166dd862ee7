/**
 * What the plugin keeps in memory for 10,000 patterns and 100,000 addresses; needs --expose-gc. Argument: its module.
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

/** Of one more application with this scenario. */
async function costOf (name) {
  const before = await used()
  apps.push(await createApp(plugin, name, () => {}))
  return await used() - before
}

// the first one loads and compiles what the others find there
await costOf('off, many')
const few = await costOf('off')
const many = await costOf('off, many')
console.log(JSON.stringify({ bytes: many - few }))
