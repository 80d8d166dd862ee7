/** What is asked of which application: shared by what runs in process and by what runs over whole HTTP requests. */
import Fastify from 'fastify'
import { addressOf, patternOf } from './rules.js'

/** The hook that does nothing, written as the plugin writes its own. */
function onRequest (_request, _reply, done) {
  done()
}

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
const browser = {
  host: 'shop',
  accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'accept-language': 'de-DE,de;q=0.9',
  'accept-encoding': 'gzip, deflate, br'
}
const anybody = { remoteAddress: '192.0.2.1' }
const friend = { remoteAddress: '10.1.2.3' }
const refused = { on: true, statusCode: 503 }
const foreign = { ...program, cookie: 'session=0123456789abcdef0123456789abcdef; theme=dark; consent=all' }

/**
 * `options`: of the plugin; without them (a plugin that is absent), `hook`. `secret`: whether the site closes with one.
 */
export const scenarios = {
  bare: {},
  'bare, a browser': { headers: browser },
  'empty hook': { hook: onRequest },
  off: { options: few },
  'off, a cookie': {
    options: few,
    headers: { ...program, cookie: `session=0123456789abcdef; maintenance=${'x'.repeat(80)}; theme=dark` }
  },
  'off, no options': { options: {} },
  'off, many': { options: many },
  'off, pinned': { options: { pinned: 'open' } },
  'off, several sites': { options: sites },
  'ignored route': { options: few, on: true, url: '/ignored' },
  'ignored route, many': { options: many, on: true, url: '/ignored' },
  'ignored address': { options: few, on: true, socket: friend },
  'ignored address, many': { options: many, on: true, socket: friend },
  'bypass cookie': { options: few, on: true, bypass: true },
  'refused JSON': { options: few, ...refused },
  'refused JSON, many': { options: many, ...refused },
  'refused JSON, pinned': { options: { pinned: 'closed' }, statusCode: 503 },
  'refused JSON, several sites': { options: sites, ...refused },
  'refused HTML': { options: few, ...refused, headers: browser },
  'refused, no bypass': { options: {}, ...refused, secret: false },
  'refused, no bypass, cookies of others': { options: {}, ...refused, secret: false, headers: foreign },
  'refused, no secret': { options: { bypass: { key: KEY } }, ...refused, secret: false },
  'refused, a secret': { options: { bypass: { key: KEY } }, ...refused },
  'refused, a secret, cookies of others': { options: { bypass: { key: KEY } }, ...refused, headers: foreign }
}

/**
 * @param plugin its module
 * @param name of a scenario
 * @param handler of `/` and `/ignored`
 */
export async function createApp (plugin, name, handler) {
  const { options, hook } = scenarios[name]
  const app = Fastify()
  if (hook !== undefined) app.addHook('onRequest', hook)
  if (options !== undefined) { await app.register((await import(plugin)).default, typeof options === 'function' ? options() : options) }
  for (const url of ['/', '/ignored']) app.get(url, handler)
  await app.ready()
  return app
}

/** Brings the application into the scenario, which may follow on another one; says what is to be asked of it. */
export async function enter (app, name) {
  const {
    on,
    statusCode = 200,
    url = '/',
    headers = program,
    socket = anybody,
    options,
    secret = true
  } = scenarios[name]
  if (on && options.sites !== undefined) await app.maintenance.for('shop').set(true)
  else if (on && !app.maintenance.active) {
    bypasses.set(app, (await app.maintenance.set(true, { bypass: secret })).bypass)
  }
  if (!scenarios[name].bypass) return { statusCode, url, headers, socket }
  return {
    statusCode,
    url,
    socket,
    headers: { ...program, cookie: `session=0123456789abcdef; ${await cookieFor(app)}; theme=dark` }
  }
}

const bypasses = new WeakMap()

/** As a browser gets it: by the plugin's own route. */
async function cookieFor (app) {
  const { secret, path } = bypasses.get(app)
  const { headers } = await app.inject({ method: 'POST', url: path.split('#')[0], payload: { secret } })
  return headers['set-cookie'].split(';')[0]
}
