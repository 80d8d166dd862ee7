/**
 * Calls nothing but an `onRequest` hook, with a stub request and reply. Argument: the plugin's module; without it, an
 * empty hook. Prints the CPU time (ns) of a call in each sample, and the bytes that a call allocates.
 */
import { getHeapStatistics } from 'node:v8'
import Fastify from 'fastify'

const CALLS = 5_000_000
const SAMPLES = 5
const [plugin] = process.argv.slice(2)
const hook = plugin === undefined ? empty : await hookOf((await import(plugin)).default)
const request = {}
/** It has ended: the plugin keeps no reply that has. */
const reply = { raw: { destroyed: true, headersSent: true, writableEnded: true } }
let passed = 0

function empty (_request, _reply, done) {
  done()
}

function countPass () {
  passed++
}

/** The hook as the plugin adds it. */
async function hookOf (maintenance) {
  const app = Fastify()
  const { addHook } = app
  let found
  app.addHook = function (name, hook) {
    if (name === 'onRequest') found = hook
    return addHook.call(this, name, hook)
  }
  await app.register(maintenance)
  await app.ready()
  return found
}

function time () {
  const begin = process.cpuUsage()
  for (let i = 0; i < CALLS; i++) hook(request, reply, countPass)
  const { user, system } = process.cpuUsage(begin)
  return (user + system) * 1000 / CALLS
}

/** In batches, so that those with a garbage collection can be left out. Reading the heap allocates next to nothing. */
function bytesPerCall () {
  const calls = 20_000
  const batches = Array.from({ length: 150 }, () => {
    const begin = getHeapStatistics().used_heap_size
    for (let i = 0; i < calls; i++) hook(request, reply, countPass)
    return getHeapStatistics().used_heap_size - begin
  })
  // the first hundred let V8 compile this loop
  const whole = batches.slice(100).filter(bytes => bytes >= 0)
  return whole.reduce((sum, bytes) => sum + bytes, 0) / whole.length / calls
}

time()
const times = Array.from({ length: SAMPLES }, time)
const bytes = bytesPerCall()
if (passed === 0) throw new Error('the hook did not call done()')
console.log(JSON.stringify({ times, bytes }))
process.exit()
