import { once } from 'node:events'
import { Agent, request as requestHttp1, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { open } from 'node:fs/promises'
import { connect as connectHttp2, sensitiveHeaders, type ClientHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { FastifyInstance, FastifyReply } from 'fastify'
import t from 'tap'
import maintenance from '../index.ts'
import { bareApp, createApp } from './fixtures/app.ts'
import { noNginx, startNginx } from './fixtures/nginx.ts'
import { addEarlier, CACHE, EARLIER, OF_ANOTHER_BODY } from './fixtures/headers.ts'

// Everything that an answer depends on, in every combination, over real sockets, with a client that obeys the headers.

const ENCODINGS = ['br', 'gzip', 'deflate', 'identity', null]
const KINDS: {
  readonly [kind: string]: {
    readonly method?: string; readonly headers: Record<string, string>; readonly status: number; readonly body: RegExp
  }
} = {
  html: {
    headers: { accept: 'text/html', 'sec-fetch-mode': 'cors' }, status: 503, body: /^<!doctype html>[^]*<\/html>\n$/
  },
  json: { headers: { accept: 'application/json' }, status: 503, body: /^\{"statusCode":503,.*\}$/ },
  problem: { headers: { accept: 'application/problem+json' }, status: 503, body: /^\{"type":"about:blank",.*\}$/ },
  text: { headers: { accept: 'text/plain' }, status: 503, body: /^We're doing some maintenance.*\n$/ },
  events: {
    headers: { accept: 'text/event-stream' }, status: 200, body: /^retry: \d+\nevent: maintenance\ndata: \{.*\}\n\n$/
  },
  redirect: { headers: { accept: 'text/html', 'sec-fetch-mode': 'navigate' }, status: 302, body: /^$/ },
  head: { method: 'HEAD', headers: { accept: 'text/html', 'sec-fetch-mode': 'cors' }, status: 503, body: /^$/ },
  upgrade: {
    headers: { accept: 'application/json', connection: 'Upgrade', upgrade: 'websocket' },
    status: 503,
    body: /^\{"statusCode":503,.*\}$/
  }
}

interface Answer { status: number, headers: IncomingHttpHeaders, bytes: Buffer }
interface Client { ask (method: string, headers: Record<string, string>): Promise<Answer>, close (): void }

for (const version of [1, 2]) {
  for (const [earlier, { kept }] of Object.entries(EARLIER)) {
    t.test(`HTTP/${version}, behind ${earlier}`, async t => {
      const { app } = bareApp(t, {
        trustProxy: true, ...(version === 2 ? { http2: true, forceCloseConnections: false } as object : {})
      })
      await addEarlier(app, earlier)
      await app.register(maintenance, { ignore: { ips: '10.1.1.1' }, bypass: {}, response: { redirect: '/down' } })
      let runs = 0
      app.get('/', async (_request, reply) => {
        runs++
        for (const name of ['content-encoding', 'content-length', 'trailer']) reply.removeHeader(name)
        for (const [name, value] of Object.entries(CACHE)) reply.header(name, value)
        return 'inside'
      })
      app.get('/down', async () => 'down')
      await app.listen({ port: 0, host: '127.0.0.1' })
      const { bypass } = await app.maintenance.set(true, { bypass: true })
      const people = {
        blocked: {},
        'ignored-ip': { 'x-forwarded-for': '10.1.1.1' },
        bypass: { 'maintenance-bypass': String(bypass?.secret) }
      }
      const client = version === 1 ? http1(app) : http2(app)
      t.teardown(() => client.close())

      const wrong: string[] = []
      let inside = 0
      for (const [person, shown] of Object.entries(people)) {
        for (const [kind, { method = 'GET', headers, status, body }] of Object.entries(KINDS)) {
          if (version === 2 && kind === 'upgrade') continue
          for (const encoding of ENCODINGS) {
            const answer = await client.ask(method, {
              origin: 'https://a.example',
              ...headers,
              ...shown,
              ...(encoding === null ? {} : { 'accept-encoding': encoding })
            })
            const complain = (what: string): void => { wrong.push(`${person} ${kind} ${encoding}: ${what}`) }
            checkCommon(answer, kept, complain)
            if (person === 'blocked') {
              checkBlocked(
                answer,
                { method, status, body, encoded: /html|head/.test(kind) ? encoding : null, cors: earlier === 'cors' },
                complain
              )
            } else {
              inside++
              checkInside(answer, method, person, earlier === 'cors', complain)
            }
          }
        }
      }
      t.strictSame(wrong.slice(0, 10), [])
      t.equal(runs, inside, 'the handler ran for requests that were let through, and no others')
    })
  }
}

t.test('responses are private, however the application writes its headers', async t => {
  const file = await open(import.meta.filename)
  t.teardown(() => file.close())
  const ways: { readonly [way: string]: (raw: FastifyReply['raw'], stream: ServerHttp2Stream) => unknown } = {
    object: raw => raw.writeHead(200, { 'X-A': '1', 'Cache-Control': 'public', ETag: '"x"' }).end(),
    'an object, and a reason': raw => raw.writeHead(200, 'Fine', { 'X-A': '1', 'Cache-Control': 'public' }).end(),
    'an object, and nothing': raw => raw.writeHead(
      200,
      { 'X-A': '1', 'Cache-Control': 'public' } as never,
      undefined
    ).end(),
    list: raw => raw.writeHead(200, [
      'X-A', '1', 'Cache-Control', 'public', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'
    ]).end(),
    pairs: raw => raw.writeHead(200, [['X-A', '1'], ['Cache-Control', 'public']] as never).end(),
    'one by one, then write': raw => {
      raw.setHeader('X-A', '1')
      raw.setHeader('Expires', '0')
      raw.setHeader('Surrogate-Control', 'max-age=9')
      raw.write('a')
      raw.end()
    },
    'one by one, then flush': raw => {
      raw.setHeader('X-A', '1'); raw.setHeader('Pragma', 'cache'); raw.flushHeaders(); raw.end()
    },
    'one by one, for cross-origin scripts': raw => {
      raw.setHeader('X-A', '1')
      raw.setHeader('Access-Control-Expose-Headers', 'X-A')
      raw.setHeader('Access-Control-Allow-Origin', '*')
      raw.writeHead(200).end()
    },
    'for same-origin scripts': raw => raw.writeHead(200, { 'X-A': '1', 'Access-Control-Expose-Headers': 'X-A' }).end(),
    'twice, the second time in vain': raw => {
      raw.writeHead(200, { 'X-A': '1' })
      t.throws(() => raw.writeHead(200, { 'X-A': '2' }), { code: /ERR_HTTP2?_HEADERS_SENT/ })
      raw.end()
    },
    'respond without headers': (_raw, stream) => { stream.respond(); stream.end() },
    respond: (_raw, stream) => {
      stream.respond({
        ':status': 200, 'x-a': '1', 'cache-control': 'public', age: '1', [sensitiveHeaders]: ['x-a']
      }); stream.end()
    },
    'respond with a file': (_raw, stream) => stream.respondWithFile(import.meta.filename, {
      'x-a': '1', 'cdn-cache-control': 'max-age=9', 'last-modified': 'x'
    }),
    'respond with a descriptor': (_raw, stream) => stream.respondWithFD(file.fd, { 'x-a': '1', expires: '0' })
  }
  for (const version of [1, 2]) {
    const { app } = bareApp(t, {
      trustProxy: true, ...(version === 2 ? { http2: true, forceCloseConnections: false } as object : {})
    })
    await app.register(maintenance, { ignore: { ips: '10.1.1.1' } })
    app.get('/', ({ headers }, reply) => {
      reply.hijack()
      ways[String(headers['x-way'])]?.(reply.raw, (reply.raw as unknown as { stream: ServerHttp2Stream }).stream)
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    await app.maintenance.set(true)
    const client = version === 1 ? http1(app) : http2(app)
    t.teardown(() => client.close())
    for (const way of Object.keys(ways)) {
      if (version === 1 && way.startsWith('respond')) continue
      const { status, headers } = await client.ask('GET', { 'x-way': way, 'x-forwarded-for': '10.1.1.1' })
      const own = way === 'respond without headers' ? {} : { 'x-a': '1' }
      t.match(
        { status, headers },
        { status: 200, headers: { ...own, 'cache-control': 'private, no-store', 'maintenance-pass': 'ignored-ip' } },
        `HTTP/${version}: ${way}`
      )
      t.strictSame(Object.keys(CACHE).filter(
        name => name !== 'cache-control' && headers[name] !== undefined
      ), [], `HTTP/${version}: ${way}: no header for caches`)
      if (way === 'one by one, for cross-origin scripts') {
        t.equal(headers['access-control-expose-headers'], 'maintenance-mode, maintenance-pass, X-A')
      }
      if (way === 'for same-origin scripts') t.equal(headers['access-control-expose-headers'], 'X-A')
      if (way === 'list') t.strictSame(headers['set-cookie'], ['a=1', 'b=2'])
    }
  }
})

t.test('responses are private with a patched writeHead: a header listed twice is sent twice', async t => {
  const { app } = bareApp(t, { trustProxy: true })
  app.addHook('onRequest', (_request, { raw }, done) => {
    const original = raw.writeHead as (...args: unknown[]) => typeof raw
    raw.writeHead = (...args: unknown[]) => original.apply(raw, args)
    done()
  })
  await app.register(maintenance, { ignore: { ips: '10.1.1.1' } })
  app.get('/', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']).end()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.maintenance.set(true)
  const client = http1(app)
  t.teardown(() => client.close())
  const { headers } = await client.ask('GET', { 'x-forwarded-for': '10.1.1.1' })
  t.match(headers, { 'set-cookie': ['a=1', 'b=2'], 'cache-control': 'private, no-store' })
})

function checkCommon ({ headers, bytes }: Answer, kept: object, complain: (what: string) => void): void {
  for (const [name, value] of Object.entries(kept)) {
    if (value !== undefined && JSON.stringify(headers[name]) !== JSON.stringify(value)) {
      complain(`${name} is ${headers[name]}`)
    }
  }
  const cached = Object.keys(CACHE).filter(name => name !== 'cache-control' && headers[name] !== undefined)
  if (cached.length > 0) complain(`it has cache headers: ${cached.join()}`)
  if (headers.trailer !== undefined || headers['transfer-encoding'] !== undefined) {
    complain('it has a trailer, or is chunked')
  }
  if (bytes.length > 0 && headers['content-length'] !== String(bytes.length)) {
    complain(`content-length ${headers['content-length']} of ${bytes.length}`)
  }
}

interface Expected { method: string, status: number, body: RegExp, encoded: string | null, cors: boolean }

function checkBlocked ({ status, headers, bytes }: Answer, {
  method, status: right, body, encoded, cors
}: Expected, complain: (what: string) => void): void {
  const coding = encoded === 'br' || encoded === 'gzip' ? encoded : undefined
  if (status !== right) complain(`status ${status}`)
  if (headers['content-encoding'] !== coding) complain(`content-encoding ${headers['content-encoding']}`)
  if (headers['cache-control'] !== 'no-store' || headers['retry-after'] !== '300' ||
    headers['maintenance-mode'] !== 'full') complain('headers of the plugin are missing')
  if (!String(headers.vary).startsWith('Accept')) complain(`vary ${headers.vary}`)
  for (const name of Object.keys(OF_ANOTHER_BODY)) {
    if (headers[name] !== undefined) complain(`${name}: ${headers[name]}`)
  }
  if (cors && headers['access-control-expose-headers'] !== 'Retry-After, Maintenance-Mode, X-Total') {
    complain(`exposed: ${headers['access-control-expose-headers']}`)
  }
  if (method === 'HEAD' && !(Number(headers['content-length']) > 1000)) {
    complain(`content-length ${headers['content-length']}`)
  }
  const text = decode(bytes, headers['content-encoding'])
  if (!body.test(text)) complain(`the body is ${JSON.stringify(text.slice(0, 40))}`)
}

function checkInside (
  { status, headers, bytes }: Answer, method: string, person: string, cors: boolean, complain: (what: string) => void
): void {
  if (status !== 200 || bytes.toString() !== (method === 'HEAD' ? '' : 'inside')) complain(`${status} ${bytes}`)
  if (headers['cache-control'] !== 'private, no-store') complain(`cache-control ${headers['cache-control']}`)
  if (headers['maintenance-mode'] !== 'full' || headers['maintenance-pass'] !== person) {
    complain('the headers maintenance-mode and maintenance-pass are wrong')
  }
  if (cors && headers['access-control-expose-headers'] !== 'maintenance-mode, maintenance-pass, X-Total') {
    complain(`exposed: ${headers['access-control-expose-headers']}`)
  }
}

function decode (bytes: Buffer, coding: string | undefined): string {
  if (bytes.length === 0) return ''
  try {
    return String(coding === 'br' ? brotliDecompressSync(bytes) : coding === 'gzip' ? gunzipSync(bytes) : bytes)
  } catch (error) {
    return String(error)
  }
}

async function readAll (stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

const portOf = (app: FastifyInstance): number => (app.server.address() as AddressInfo).port

/** All requests share one connection, except upgrades, which close theirs. */
function http1 (app: FastifyInstance): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  return {
    async ask (method, headers) {
      const request = requestHttp1({
        host: '127.0.0.1', port: portOf(app), method, headers, agent: headers.upgrade === undefined ? agent : false
      }).end()
      const [response] = await once(request, 'response') as [IncomingMessage]
      return { status: response.statusCode as number, headers: response.headers, bytes: await readAll(response) }
    },
    close: () => agent.destroy()
  }
}

function http2 (app: FastifyInstance): Client {
  const session: ClientHttp2Session = connectHttp2(`http://127.0.0.1:${portOf(app)}`)
  return {
    async ask (method, headers) {
      const stream = session.request({ ':path': '/', ':method': method, ...headers })
      const [received] = await once(stream, 'response')
      return { status: received[':status'], headers: received, bytes: await readAll(stream) }
    },
    close: () => session.destroy()
  }
}

/**
 * Starts nginx with a cache in front of a server and returns its address. It caches everything that the headers don't
 * forbid.
 */
const startCache = (t: { teardown (work: () => unknown): void }, upstream: number): Promise<string> =>
  startNginx(t, (folder, port) => `
  proxy_cache_path ${folder}/cache keys_zone=pages:1m;
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://127.0.0.1:${upstream}; proxy_cache pages; proxy_cache_valid any 10m; add_header X-Cache $upstream_cache_status always; }
  }`)

t.test('behind a real cache', { skip: noNginx }, async t => {
  for (const earlier of ['no header', 'raw headers', 'Content-Encoding']) {
    const { app } = await createApp(
      t,
      { ignore: { ips: '10.1.1.1', request: ({ headers }) => headers['x-user'] === '1' }, bypass: {} },
      { trustProxy: true }
    )
    await addEarlier(app, earlier)
    app.get('/send/:who', async (_request, reply) => {
      for (const name of ['content-encoding', ...Object.keys(OF_ANOTHER_BODY)]) reply.removeHeader(name)
      reply.raw.setHeader('x-accel-expires', '600')
      return reply.header('cache-control', 'public, max-age=600').send('inside')
    })
    app.get('/raw/:who', (_request, reply) => {
      reply.hijack()
      for (const name of reply.raw.getHeaderNames()) reply.raw.removeHeader(name)
      reply.raw.writeHead(200, ['X-Accel-Expires', '600', 'Expires', 'Thu, 01 Jan 2099 00:00:00 GMT'])
      reply.raw.end('inside')
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const url = await startCache(t, (app.server.address() as AddressInfo).port)
    const get = async (path: string, headers: Record<string, string> = {}): Promise<[number, string]> => {
      const answer = await fetch(url + path, { headers: { 'accept-encoding': 'identity', ...headers } })
      return [answer.status, (await answer.text()).slice(0, 6)]
    }
    const { bypass } = await app.maintenance.set(true, { bypass: true })
    const few = {
      ip: { 'x-forwarded-for': '10.1.1.1' },
      user: { 'x-user': '1' },
      tester: { 'maintenance-bypass': String(bypass?.secret) }
    }
    for (const [who, headers] of Object.entries(few)) {
      for (const path of [`/send/${who}`, `/raw/${who}`]) {
        t.strictSame(await get(path, headers), [200, 'inside'], `${earlier}: ${path} is let through`)
        t.equal((await get(path))[0], 503, `${earlier}: other requests are blocked`)
        t.strictSame(await get(path, headers), [200, 'inside'], `${earlier}: the 503 is not cached either`)
      }
    }
    await app.maintenance.set(false)
    for (const who of Object.keys(few)) {
      t.strictSame(await get(`/send/${who}`), [200, 'inside'], `${earlier}: no cached 503 once the site is open`)
    }
    const again = await fetch(`${url}/send/ip`)
    t.equal(again.headers.get('x-cache'), 'HIT', 'the cache works: it keeps responses of the open site')
  }
})
