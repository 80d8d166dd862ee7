import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createApp, until } from './fixtures/app.ts'
import { findProgram } from './fixtures/debian.ts'
import { addEarlier, OF_ANOTHER_BODY } from './fixtures/headers.ts'
import { freePort } from './fixtures/redis.ts'

const nginx = findProgram(['nginx'], ['nginx-light'])

/** nginx with a cache in front of a server: its address. It keeps whatever the headers allow, and everything else that nobody forbids. */
async function startCache (t: { teardown (work: () => unknown): void }, upstream: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'maintenance-nginx-'))
  const port = await freePort()
  const config = join(folder, 'nginx.conf')
  writeFileSync(config, `
    daemon off; master_process off; pid ${folder}/pid; error_log /dev/null crit;
    events { worker_connections 64; }
    http {
      access_log off;
      client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c; uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
      proxy_cache_path ${folder}/cache keys_zone=pages:1m;
      server {
        listen 127.0.0.1:${port};
        location / { proxy_pass http://127.0.0.1:${upstream}; proxy_cache pages; proxy_cache_valid any 10m; add_header X-Cache $upstream_cache_status always; }
      }
    }`)
  const child = spawn(nginx as string, ['-c', config, '-e', '/dev/null'], { stdio: 'ignore' })
  t.teardown(() => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  const url = `http://127.0.0.1:${port}`
  await until('nginx answers', () => fetch(`${url}/started`).then(() => true, () => false))
  return url
}

t.test('behind a real cache', { skip: nginx === null ? 'nginx is missing: install it to see a real cache in front' : false }, async t => {
  for (const earlier of ['no header', 'raw headers', 'Content-Encoding']) {
    const { app } = await createApp(t, { ignore: { ips: '10.1.1.1', request: ({ headers }) => headers['x-user'] === '1' }, bypass: {} }, { trustProxy: true })
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
    const few = { ip: { 'x-forwarded-for': '10.1.1.1' }, user: { 'x-user': '1' }, tester: { 'maintenance-bypass': String(bypass?.secret) } }
    for (const [who, headers] of Object.entries(few)) {
      for (const path of [`/send/${who}`, `/raw/${who}`]) {
        t.strictSame(await get(path, headers), [200, 'inside'], `${earlier}: ${path} is seen by the few`)
        t.equal((await get(path))[0], 503, `${earlier}: and by nobody else`)
        t.strictSame(await get(path, headers), [200, 'inside'], `${earlier}: no 503 is kept for the few, either`)
      }
    }
    await app.maintenance.set(false)
    for (const who of Object.keys(few)) t.strictSame(await get(`/send/${who}`), [200, 'inside'], `${earlier}: no 503 is kept once the site is open`)
    const again = await fetch(`${url}/send/ip`)
    t.equal(again.headers.get('x-cache'), 'HIT', 'it is a cache: what an open site allows is kept')
  }
})
