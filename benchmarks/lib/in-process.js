/**
 * Requests in process: through Fastify's router and hooks, up to the bytes of the answer and no further.
 * Arguments: the module of the plugin, requests per sample, and one scenario or more, of one application, in turn.
 * Plain JavaScript, so that nothing has to be compiled under valgrind. Marks both ends of a sample by a call of
 * libuv's `uv_loadavg`, which nothing else calls: callgrind writes its counts down there. Prints what each sample
 * took, ns of CPU time for a request, and the bytes that it allocated.
 */
import { loadavg } from 'node:os'
import Fastify from 'fastify'
import { addressOf, patternOf } from './rules.js'

const [plugin, perSample, ...names] = process.argv.slice(2)
const REQUESTS = Number(perSample)
const SAMPLES = Number(process.env.SAMPLES ?? 3)
const WARM_UP = Number(process.env.WARM_UP ?? 10_000)

/** As much of a response as is asked of it, so that little is measured but what is ours; whoever listens is told. */
class Response {
  listeners = null
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
  tell (event) {
    for (const { name, listener } of this.listeners ?? []) if (name === event) listener()
  }

  getHeaders () { return NONE }
  setHeader () { return this }
  removeHeader () {}
  writeHead (statusCode) {
    this.statusCode = statusCode
    answered[statusCode]++
    return this
  }

  end () {
    this.writableEnded = true
    if (this.listeners === null) return
    this.tell('finish')
    this.tell('close')
  }
}

/** The hook that does nothing, written as the plugin writes its own. */
function onRequest (_request, _reply, done) {
  done()
}

const NONE = Object.freeze({})
const answered = { 200: 0, 503: 0 }
const KEY = 'a key of more than 32 characters, of the benchmarks'
const few = { bypass: { key: KEY }, ignore: { routes: ['/ignored', '/files/*'], ips: ['10.0.0.0/8', '2001:db8::/32'] } }
const many = () => ({
  bypass: { key: KEY },
  ignore: {
    routes: ['/ignored', ...Array.from({ length: 10_000 }, (_, i) => patternOf(i))],
    ips: ['10.0.0.0/8', ...Array.from({ length: 100_000 }, (_, i) => addressOf(i))]
  }
})
const sites = { site: request => request.headers.host, sites: ['shop', 'blog'] }

const program = { host: 'shop', accept: 'application/json' }
const browser = { host: 'shop', accept: 'text/html,application/xhtml+xml,*/*;q=0.8', 'accept-language': 'de-DE,de;q=0.9', 'accept-encoding': 'gzip, deflate, br' }
const anybody = { remoteAddress: '192.0.2.1' }
const friend = { remoteAddress: '10.1.2.3' }
const refused = { on: true, statusCode: 503 }

/** `options`: of the plugin; without them (a plugin that is absent), `hook`. */
const scenarios = {
  bare: {},
  'empty hook': { hook: onRequest },
  off: { options: few },
  'off, no options': { options: {} },
  'off, many': { options: many },
  'off, pinned': { options: { enabled: false } },
  'off, several sites': { options: sites },
  'ignored route': { options: few, on: true, url: '/ignored' },
  'ignored route, many': { options: many, on: true, url: '/ignored' },
  'ignored address': { options: few, on: true, socket: friend },
  'ignored address, many': { options: many, on: true, socket: friend },
  'bypass cookie': { options: few, on: true, bypass: true },
  'refused JSON': { options: few, ...refused },
  'refused JSON, many': { options: many, ...refused },
  'refused JSON, pinned': { options: { enabled: true }, statusCode: 503 },
  'refused JSON, several sites': { options: sites, ...refused },
  'refused HTML': { options: few, ...refused, headers: browser }
}

const { options, hook } = scenarios[names[0]]
const app = Fastify()
if (hook !== undefined) app.addHook('onRequest', hook)
if (options !== undefined) await app.register((await import(plugin)).default, typeof options === 'function' ? options() : options)
for (const url of ['/', '/ignored']) {
  app.get(url, (_request, { raw }) => {
    raw.writeHead(200, NONE)
    raw.end()
  })
}
await app.ready()
const { routing } = app

function run ({ url = '/', headers = program, socket = anybody }, requests) {
  for (let i = 0; i < requests; i++) routing({ method: 'GET', url, headers, httpVersionMajor: 1, socket }, new Response())
}

/** As a browser gets it: by the plugin's own route. */
async function cookieFor ({ secret, path }) {
  const { headers } = await app.inject({ method: 'POST', url: path.split('#')[0], payload: { secret } })
  return headers['set-cookie'].split(';')[0]
}

let bypass
async function close () {
  if (options.sites !== undefined) return app.maintenance.for('shop').set(true)
  bypass ??= (await app.maintenance.set(true, { bypass: true })).bypass
}

async function measure (name) {
  const { on, statusCode = 200, ...asked } = scenarios[name]
  if (on) await close()
  if (asked.bypass) asked.headers = { ...program, cookie: `session=0123456789abcdef; ${await cookieFor(bypass)}; theme=dark` }
  run(asked, WARM_UP)
  const samples = []
  for (let i = 0; i < SAMPLES; i++) {
    answered[statusCode] = 0
    loadavg()
    const heap = process.memoryUsage().heapUsed
    const begin = process.cpuUsage()
    run(asked, REQUESTS)
    const { user, system } = process.cpuUsage(begin)
    const bytes = process.memoryUsage().heapUsed - heap
    loadavg()
    samples.push({ ns: (user + system) * 1000 / REQUESTS, bytes: bytes / REQUESTS })
    if (answered[statusCode] !== REQUESTS) throw new Error(`${name}: ${answered[statusCode]} of ${REQUESTS} answered ${statusCode}`)
  }
  return samples
}

const figures = {}
for (const name of names) figures[name] = await measure(name)
console.log(JSON.stringify(figures))
await app.close()
