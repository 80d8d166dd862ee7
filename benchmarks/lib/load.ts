/**
 * The client of http.ts, in a process that serves all its measurements. It is as cheap as possible: autocannon needs
 * longer to read a response with ten headers than the server needs to send it, so it would measure itself.
 */
import { connect } from 'node:net'

export interface Load {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Expected of every response. */
  readonly statusCode: number
  readonly connections: number
  readonly requests: number
}

/** Sends one request after another on each connection. All responses must be as long as the first one. */
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
        // the status code follows `HTTP/1.1 `
        if (received === 0 && buffer.toString('latin1', 9, 12) !== String(statusCode)) {
          socket.destroy(new Error(`expected ${statusCode}, got: ${buffer.toString('latin1', 0, bytes)}`))
        }
        received += bytes
        if (received > size) socket.destroy(new Error(`a response of ${url} is longer than ${size} bytes`))
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
  if (length === undefined) throw new Error(`a response without Content-Length: ${start}`)
  return start.indexOf('\r\n\r\n') + 4 + Number(length)
}

// the benchmark has ended, or failed
process.on('disconnect', () => process.exit())
process.on('message', async (job: Load) => {
  await load(job)
  process.send?.(null)
})
