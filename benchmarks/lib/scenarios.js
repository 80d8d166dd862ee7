/** The scenarios that are measured both in process and with whole HTTP requests. */
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import { API_CLIENT, BROWSER } from './clients.js'
import { addressOf, patternOf } from './rules.js'

/** Does nothing, in the form of the plugin's own hook. */
function onRequest (_request, _reply, done) {
  done()
}

const KEY = 'a key of more than 32 characters, of the benchmarks'
const bypass = { key: KEY }
const few = { bypass, ignore: { routes: ['/ignored', '/files/*'], ips: ['10.0.0.0/8', '2001:db8::/32'] } }
const many = () => ({
  bypass,
  ignore: {
    routes: ['/ignored', ...Array.from({ length: 10_000 }, (_, i) => patternOf(i))],
    ips: ['10.0.0.0/8', ...Array.from({ length: 100_000 }, (_, i) => addressOf(i))]
  }
})
const sites = { site: request => request.headers.host, sites: ['shop', 'blog'] }

const apiClient = { host: 'shop', ...API_CLIENT }
const browser = { host: 'shop', ...BROWSER }
const otherCookies = { ...apiClient, cookie: 'session=0123456789abcdef0123456789abcdef; theme=dark; consent=all' }
const manyCookies = {
  ...apiClient,
  cookie: `session=0123456789abcdef; maintenance=${'x'.repeat(80)}; theme=dark`
}
const visitor = { remoteAddress: '192.0.2.1' }
const ignoredClient = { remoteAddress: '10.1.2.3' }
const blocked = { closed: true, statusCode: 503 }

/**
 * `options` are the plugin's; scenarios without them don't register it on the application that gets the requests.
 * `hook` is an `onRequest` hook to add instead. With `alone`, the process doesn't load the plugin at all.
 * `closed` closes the site first, with a bypass secret unless `secret` is false, and with as many active windows more
 * as `planned` says. `bypass` sends a valid bypass cookie. `held` requests to `/held` are never answered.
 */
export const scenarios = {
  bare: {},
  'nothing else in the process': { alone: true },
  'bare, a browser': { headers: browser },
  'empty hook': { hook: onRequest },
  'empty hook, /ignored': { hook: onRequest, url: '/ignored' },
  'empty hook, with a cookie': { hook: onRequest, headers: manyCookies },
  open: { options: few },
  'open, 100 in flight': { options: few, held: 100 },
  'open, /ignored': { options: few, url: '/ignored' },
  'open, /off': { options: few, url: '/off' },
  'open, with a cookie': { options: few, headers: manyCookies },
  'open, many rules': { options: many },
  'open, several sites': { options: sites },
  "'off' route, closed": { options: few, closed: true, url: '/off' },
  'ignored route': { options: few, closed: true, url: '/ignored' },
  'ignored route, three windows': { options: few, closed: true, planned: 2, url: '/ignored' },
  'ignored route, many rules': { options: many, closed: true, url: '/ignored' },
  'ignored address': { options: few, closed: true, socket: ignoredClient },
  'ignored address, many rules': { options: many, closed: true, socket: ignoredClient },
  'bypass cookie': { options: few, closed: true, bypass: true },
  'blocked JSON': { options: few, ...blocked },
  'blocked JSON, many rules': { options: many, ...blocked },
  'blocked JSON, three windows': { options: few, ...blocked, planned: 2 },
  'blocked JSON, several sites': { options: sites, ...blocked },
  'blocked HTML': { options: few, ...blocked, headers: browser },
  'blocked, no bypass': { options: {}, ...blocked, secret: false },
  'blocked, no bypass, other cookies': { options: {}, ...blocked, secret: false, headers: otherCookies },
  'blocked, no secret': { options: { bypass }, ...blocked, secret: false },
  'blocked, with a secret': { options: { bypass }, ...blocked },
  'blocked, with a secret, other cookies': { options: { bypass }, ...blocked, headers: otherCookies }
}

/**
 * @param plugin the plugin's module
 * @param name of the scenario
 * @param handler of `/`, `/ignored` and `/off`
 */
export async function createApp (plugin, name, handler) {
  const { options, hook, alone } = scenarios[name]
  const maintenance = alone ? undefined : (await import(plugin)).default
  if (!alone) await registerElsewhere(maintenance)
  const app = Fastify()
  if (hook !== undefined) app.addHook('onRequest', hook)
  if (options !== undefined) {
    await app.register(maintenance, typeof options === 'function' ? options() : options)
  }
  for (const url of ['/', '/ignored']) app.get(url, handler)
  app.get('/held', () => {})
  app.get('/off', { config: { maintenance: 'off' } }, handler)
  await app.ready()
  return app
}

/**
 * Parts of Node itself become slower once a process has used one more kind of stream or emitter, whichever package used
 * it. So each process has an application with the plugin that gets no requests.
 */
async function registerElsewhere (maintenance) {
  const app = Fastify()
  await app.register(maintenance, few)
  await app.ready()
}

/**
 * Puts the application into a scenario, possibly after another one with the same options.
 * @returns the request to send and the status code to expect
 */
export async function enter (app, name) {
  const {
    closed,
    statusCode = 200,
    url = '/',
    headers = apiClient,
    socket = visitor,
    options,
    secret = true,
    planned = 0,
    held = 0
  } = scenarios[name]
  if (closed && options.sites !== undefined) await app.maintenance.for('shop').set(true)
  else if (closed && !app.maintenance.active) {
    bypasses.set(app, (await app.maintenance.set(true, { bypass: secret })).bypass)
  }
  if (planned > 0) await startWindows(app, planned)
  if (!scenarios[name].bypass) return { statusCode, url, headers, socket, held }
  const cookie = `session=0123456789abcdef; ${await cookieFor(app)}; theme=dark`
  return { statusCode, url, socket, held, headers: { ...apiClient, cookie } }
}

async function startWindows ({ maintenance }, count) {
  for (let i = 0; i < count; i++) await maintenance.set(true, { startsAt: new Date(Date.now() + 500) })
  while (maintenance.status().windows.some(({ active }) => !active)) await sleep(20)
}

const bypasses = new WeakMap()

/** Gets the cookie as a browser does, from the plugin's own route. */
async function cookieFor (app) {
  const { secret, path } = bypasses.get(app)
  const { headers } = await app.inject({ method: 'POST', url: path.split('#')[0], payload: { secret } })
  return headers['set-cookie'].split(';')[0]
}
