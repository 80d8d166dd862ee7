/**
 * Whole HTTP requests for callgrind to count: Node's own server, parser and responses, over an in-memory connection.
 * Arguments as in in-process.js.
 */
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { mark, startCounting } from './marks.js'
import { createApp, enter } from './scenarios.js'

const [plugin, perSample, ...names] = process.argv.slice(2)
const SAMPLES = Number(process.env.SAMPLES ?? 3)
const WARM_UP = Number(process.env.WARM_UP ?? 3000)

let written = ''
let answers = 0
const connection = new Duplex({
  read () {},
  write (chunk, _encoding, done) {
    answers++
    if (written !== null) written += chunk.toString('latin1')
    done()
  },
  writev (chunks, done) {
    answers++
    if (written !== null) written += chunks.map(({ chunk }) => chunk.toString('latin1')).join('')
    done()
  }
})
connection.remoteAddress = '192.0.2.1'

const app = await createApp(plugin, names[0], (_request, reply) => { reply.send({ hello: 'world' }) })
app.server.emit('connection', connection)

async function run (bytes, requests) {
  for (let i = 0; i < requests; i++) {
    connection.push(bytes)
    await turn()
  }
}

await startCounting()
for (const name of names) {
  const { statusCode, url, headers } = await enter(app, name)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const bytes = Buffer.from(`GET ${url} HTTP/1.1\r\n${lines.join('')}\r\n`)
  written = ''
  answers = 0
  await run(bytes, 1)
  // pages are compressed on first use
  // eslint-disable-next-line no-unmodified-loop-condition -- the connection changes it
  for (let turns = 0; turns < 100_000 && answers === 0; turns++) await turn()
  if (!written.startsWith(`HTTP/1.1 ${statusCode} `)) throw new Error(`${name}: ${written.slice(0, 100)}`)
  written = null
  await run(bytes, WARM_UP)
  for (let i = 0; i < SAMPLES; i++) {
    answers = 0
    mark()
    await run(bytes, Number(perSample))
    mark()
    if (answers !== Number(perSample)) throw new Error(`${name}: ${answers} answers to ${perSample} requests`)
  }
}
process.exit()
