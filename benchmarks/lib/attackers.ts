/**
 * The clients of attack.ts, in their own process: each connection sends one request after another, of mixed kinds.
 * Arguments: URL, connections. Once all have a response, it tells the parent process, which may then ask for the number
 * of responses at any time. Any response but a refusal ends it.
 */
import { connect, type Socket } from 'node:net'
import { BROWSER } from './clients.js'

const [address = '', connections] = process.argv.slice(2)
const { hostname, port, host } = new URL(address)

const request = (line: string, headers: Record<string, string> = {}, body = ''): Buffer =>
  Buffer.from([
    `${line} HTTP/1.1`,
    ...Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}`),
    ...(body === '' ? [] : [`content-length: ${body.length}`]),
    '',
    body
  ].join('\r\n'))

/** Ordinary requests, and hostile ones with headers about as long as Node accepts. */
const REQUESTS = [
  request('GET /', BROWSER),
  request('GET /api/orders?page=2', { accept: 'application/json' }),
  request('GET /feed', { accept: 'application/atom+xml' }),
  request('GET /', { accept: '*/*' }),
  request('POST /api/orders', { accept: 'application/json', 'content-type': 'application/json' }, '{"id":1}'),
  request('GET /', { ...BROWSER, accept: 'text/html;q=0.1,'.repeat(400) }),
  request('GET /', { ...BROWSER, 'accept-language': 'xx-YY;q=0.3,'.repeat(500) }),
  request('GET /', { ...BROWSER, 'accept-encoding': 'x;q=0,'.repeat(800) }),
  request('GET /', { ...BROWSER, cookie: `maintenance=${'x'.repeat(4000)}` }),
  request('GET /', { cookie: 'a=b; '.repeat(1200) }),
  request(`GET /${'a/'.repeat(2000)}`),
  request(`GET /${'%2e%2e/'.repeat(500)}`),
  request('GET /', { 'x-forwarded-for': '1.2.3.4, '.repeat(500) + '1.2.3.4' })
]

/** 503, and what Node and nginx say to headers and paths that they refuse. */
const REFUSALS = ['503', '400', '414', '431']
let answered = 0

/** Finds the end of a response by its Content-Length; none of the requests is a HEAD. */
function attack (first: number): void {
  let next = first
  let missing = 0
  const socket: Socket = connect({ host: hostname, port: Number(port), noDelay: true }, send)
  function send (): void {
    socket.write(REQUESTS[next++ % REQUESTS.length] as Buffer)
  }
  socket.on('data', (chunk: Buffer) => {
    if (missing > 0) missing -= chunk.length
    else {
      const head = chunk.indexOf('\r\n\r\n')
      // the status code follows `HTTP/1.1 `
      if (!REFUSALS.includes(chunk.toString('latin1', 9, 12))) throw new Error(chunk.toString('latin1', 0, head))
      const length = /\r\ncontent-length: (\d+)/i.exec(chunk.toString('latin1', 0, head))?.[1] ?? 0
      missing = head + 4 + Number(length) - chunk.length
    }
    if (missing > 0) return
    missing = 0
    answered++
    send()
  })
  // the server may close the connection after a hostile request
  socket.on('error', () => {}).on('close', () => { setImmediate(() => attack(next)) })
}

for (let i = 0; i < Number(connections); i++) attack(i)
process.on('message', () => { process.send?.(answered) })
process.on('disconnect', () => process.exit())
const starting = setInterval(() => {
  if (answered < Number(connections)) return
  clearInterval(starting)
  process.send?.('started')
}, 10)
