/**
 * In-process requests: through Fastify's router and hooks, but without a socket. Arguments: the plugin's module, the
 * requests per sample, and the scenarios to run in turn, all with the same options. Prints the CPU time (ns) and the
 * allocated bytes per request of each sample. Plain JavaScript, so that nothing needs compiling under valgrind.
 */
import { ServerResponse } from 'node:http'
import { mark, startCounting } from './marks.js'
import { createApp, enter } from './scenarios.js'

const [plugin, perSample, ...names] = process.argv.slice(2)
const REQUESTS = Number(perSample)
const SAMPLES = Number(process.env.SAMPLES ?? 3)
const WARM_UP = Number(process.env.WARM_UP ?? 20_000)

/** Only what Fastify and the plugin use of a response, so that little else is measured. */
class Response {
  listeners = null
  headersSent = false
  statusMessage = undefined
  writableEnded = false
  destroyed = false
  on (name, listener) {
    this.listeners ??= []
    this.listeners.push({ name, listener })
    return this
  }

  once (name, listener) { return this.on(name, listener) }
  off (_name, listener) {
    if (this.listeners !== null) this.listeners = this.listeners.filter(entry => entry.listener !== listener)
    return this
  }

  removeListener (name, listener) { return this.off(name, listener) }
  emit (event) {
    for (const { name, listener } of this.listeners ?? []) if (name === event) listener()
  }

  getHeaders () { return NONE }
  getHeaderNames () { return [] }
  getHeader () {}
  hasHeader () { return false }
  setHeader () { return this }
  removeHeader () {}
  writeHead (statusCode) {
    this.headersSent = true
    answered[statusCode]++
    return this
  }

  end () {
    this.writableEnded = true
    this.destroyed = true
    if (this.listeners === null) return
    this.emit('finish')
    this.emit('close')
  }
}

const NONE = Object.freeze({})
const answered = { 200: 0, 503: 0 }
// when loaded, the plugin looks for Node's own writeHead and end, which it calls in a cheaper way
const { writeHead, end } = ServerResponse.prototype
Object.assign(ServerResponse.prototype, { writeHead: Response.prototype.writeHead, end: Response.prototype.end })
const app = await createApp(plugin, names[0], (_request, { raw }) => {
  raw.writeHead(200, NONE)
  raw.end()
})
Object.assign(ServerResponse.prototype, { writeHead, end })
const { routing } = app

function run ({ url, headers, socket }, requests) {
  const cookie = headers.cookie === undefined ? null : Buffer.from(headers.cookie)
  for (let i = 0; i < requests; i++) {
    // the HTTP parser makes a new string for each header; only the cookie is long enough to matter
    if (cookie !== null) headers.cookie = cookie.latin1Slice()
    routing({ method: 'GET', url, headers, httpVersionMajor: 1, socket }, new Response())
  }
}

async function answerWithin (ms, statusCode) {
  const begin = performance.now()
  while (answered[statusCode] === 0) {
    if (performance.now() - begin > ms) throw new Error(`no answer with ${statusCode} within ${ms} ms`)
    await new Promise(resolve => setImmediate(resolve))
  }
}

async function measure (name) {
  const request = await enter(app, name)
  const { statusCode } = request
  for (let i = 0; i < request.held; i++) {
    routing({ method: 'GET', httpVersionMajor: 1, ...request, url: '/held' }, new Response())
  }
  // pages are compressed on first use
  answered[statusCode] = 0
  run(request, 1)
  await answerWithin(60_000, statusCode)
  run(request, WARM_UP)
  const samples = []
  for (let i = 0; i < SAMPLES; i++) {
    answered[statusCode] = 0
    const heap = process.memoryUsage().heapUsed
    const begin = process.cpuUsage()
    mark()
    run(request, REQUESTS)
    mark()
    const { user, system } = process.cpuUsage(begin)
    const bytes = process.memoryUsage().heapUsed - heap
    samples.push({ ns: (user + system) * 1000 / REQUESTS, bytes: bytes / REQUESTS })
    if (answered[statusCode] !== REQUESTS) {
      throw new Error(`${name}: ${answered[statusCode]} of ${REQUESTS} requests answered with ${statusCode}`)
    }
  }
  return samples
}

await startCounting()
const figures = {}
for (const name of names) figures[name] = await measure(name)
console.log(JSON.stringify(figures))
await app.close()
