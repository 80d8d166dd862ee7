/**
 * Refuses a number of requests, in process: through Fastify's router and hooks, up to the bytes of the answer and no
 * further. Plain JavaScript, so that nothing has to be compiled under valgrind. Arguments: `bypass` (the option),
 * `secret` (the same, and a secret of this window) or `none`; how many requests; their Cookie header. As many before
 * them warm it up; a call of libuv's `uv_loadavg`, which nothing else calls, marks where they begin and end.
 */
import { loadavg } from 'node:os'
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'

const [variant, count, cookie] = process.argv.slice(2)
const headers = { host: 'localhost', accept: 'application/json', ...(cookie === undefined ? {} : { cookie }) }
const socket = { remoteAddress: '192.0.2.1' }
const NONE = Object.freeze({})
let refused = 0

/** As much of a response as is asked of it. */
class Response {
  on () { return this }
  once () { return this }
  off () { return this }
  removeListener () { return this }
  getHeaders () { return NONE }
  setHeader () { return this }
  removeHeader () {}
  writeHead (statusCode) {
    if (statusCode === 503) refused++
    return this
  }

  end () { this.writableEnded = true }
}

const app = Fastify()
await app.register(maintenance, variant === 'none' ? {} : { bypass: { key: 'a key of more than 32 characters, of the benchmarks' } })
app.get('/', async () => 'open')
await app.ready()
await app.maintenance.set(true, variant === 'secret' ? { bypass: true } : {})
refuse()
loadavg()
refuse()
loadavg()
if (refused !== 2 * Number(count)) throw new Error(`${refused} of 2 times ${count} were refused`)
await app.close()

function refuse () {
  for (let i = 0; i < Number(count); i++) app.routing({ method: 'GET', url: '/', headers, httpVersionMajor: 1, socket }, new Response())
}
