/**
 * The client of http.ts, in a process of its own, which lives as long as all its measurements. It hardly costs
 * anything: autocannon takes longer to read an answer of ten headers than the server takes to send it, so that its
 * requests per second are its own, and on two cores it takes from the server what it burns itself.
 */
import { connect } from 'node:net'

export interface Load {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** What each answer must have. */
  readonly statusCode: number
  readonly connections: number
  readonly requests: number
}

/**
 * One request after the other on each connection. All answers must be of one size, which the first one tells.
 */
async function load ({ url, headers, statusCode, connections, requests }: Load): Promise<void> {
  const { hostname, port, host, pathname } = new URL(url)
  const lines = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  const request = Buffer.from(`GET ${pathname} HTTP/1.1\r\n${lines.join('')}\r\n`)
  let size = 0
  let left = requests
  let answered = 0

  function ask (): Promise<void> {
    return new Promise((resolve, reject) => {
      let received = 0
      const buffer = Buffer.allocUnsafe(65536)
      const socket = connect({ host: hostname, port: Number(port), noDelay: true, onread: { buffer, callback } }, next)
      socket.on('error', reject).on('close', () => { resolve() })

      function next (): void {
        if (left-- > 0) socket.write(request)
        else socket.destroy()
      }

      function callback (bytes: number): boolean {
        if (size === 0) size = sizeOf(buffer.toString('latin1', 0, bytes))
        // behind `HTTP/1.1 `
        if (received === 0 && buffer.toString('latin1', 9, 12) !== String(statusCode)) socket.destroy(new Error(`not ${statusCode}: ${buffer.toString('latin1', 0, bytes)}`))
        received += bytes
        if (received > size) socket.destroy(new Error(`an answer of ${url} has more than ${size} bytes`))
        if (received !== size) return true
        received = 0
        answered++
        next()
        return true
      }
    })
  }

  await Promise.all(Array.from({ length: connections }, ask))
  if (answered !== requests) throw new Error(`${url} answered ${answered} of ${requests} requests`)
}

function sizeOf (start: string): number {
  const length = /\r\ncontent-length: (\d+)\r\n/i.exec(start)?.[1]
  if (length === undefined) throw new Error(`an answer without Content-Length: ${start}`)
  return start.indexOf('\r\n\r\n') + 4 + Number(length)
}

process.on('message', async (job: Load) => {
  await load(job)
  process.send?.(null)
})
