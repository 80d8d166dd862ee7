import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../../test/fixtures/app.ts'
import { findProgram } from '../../test/fixtures/debian.ts'
import { freePort } from '../../test/fixtures/redis.ts'
import type { Running } from './http.ts'
import { CORE, pinTo } from './pin.ts'

/** `null` if nginx is not available. */
export const findNginx = (): string | null => findProgram(['nginx'], ['nginx-light'])

/** A single process that answers every request with a 503 and a short body. */
export async function startNginx (): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nginx-'))
  const port = await freePort()
  const config = join(folder, 'nginx.conf')
  writeFileSync(config, configOf(folder, port))
  // pinned as the other servers are
  const [program = '', ...args] = [...pinTo(CORE), findNginx() as string, '-c', config, '-e', '/dev/null']
  const child = spawn(program, args, { stdio: 'ignore' })
  const url = `http://127.0.0.1:${port}`
  await until('nginx answers', () => fetch(url).then(() => true, () => false))
  let before = 0
  return {
    url,
    pid: child.pid as number,
    async cpu () {
      // the first field is the CPU time in ns
      const now = Number(readFileSync(`/proc/${child.pid}/schedstat`, 'utf8').split(' ')[0]) / 1000
      const used = now - before
      before = now
      return used
    },
    stop () {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

const configOf = (folder: string, port: number): string => `
  daemon off; master_process off; pid ${folder}/pid; error_log /dev/null crit;
  events { worker_connections 4096; }
  http {
    access_log off; keepalive_requests 100000000; default_type application/json;
    client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c;
    uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
    server {
      listen 127.0.0.1:${port};
      location / {
        add_header Cache-Control no-store always;
        return 503 '{"statusCode":503,"message":"Back soon"}';
      }
    }
  }`
