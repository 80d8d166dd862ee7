// Draws what the command prints on a terminal: npm run screenshots (needs the build, redis-server, and script of
// util-linux).
// Real servers, a real Redis, a pseudo-terminal; only the names of the hosts, the processes and the day are those of a
// shop.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const COLUMNS = 126
const NIGHT = Date.parse('2026-12-01T02:30:00Z')
const MINUTE = 60_000
const started = Date.now()
const children = []

function start (command, args, options) {
  const child = spawn(command, args, { cwd: root, ...options })
  children.push(child)
  return child
}

async function freePort () {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
}

const port = await freePort()
const store = `redis://127.0.0.1:${port}`
start('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], { stdio: 'ignore' })

const SERVER = `
import Fastify from 'fastify'
import maintenance from 'fastify-maintenance'
const app = Fastify()
await app.register(maintenance, { site: 'shop', store: '${store}', bypass: {}, pinned: process.env.PINNED })
app.post('/orders', () => new Promise(resolve => setTimeout(resolve, 4000)))
console.log(await app.listen({ port: 0, host: '127.0.0.1' }))`

/** @returns the process of a server, and its address */
async function startServer (env = {}) {
  const child = start(process.execPath, ['--input-type=module', '--eval', SERVER], {
    env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit']
  })
  const [address] = await once(child.stdout, 'data')
  return { child, address: String(address).trim() }
}

/** Types a command on a pseudo-terminal. @returns what it printed, each time */
async function type (line) {
  const env = { ...process.env, MAINTENANCE_STORE: store, SUDO_USER: 'ann', TZ: 'UTC', NO_COLOR: '' }
  const child = start('script', [
    '-qec', `'${process.execPath}' dist/lib/cli/bin.js ${line}`, '/dev/null'
  ], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const pieces = []
  child.stdout.on('data', piece => pieces.push(toShop(String(piece))))
  await once(child, 'close')
  return pieces
}

const servers = []
const toMinute = time => time - time % MINUTE

function toShop (text) {
  return text
    .replace(/\S+ \(process (\d+)\)/g, (_all, pid) => {
      const number = servers.findIndex(({ child }) => child.pid === Number(pid)) + 1
      return `web-${number} (process ${4020 + number})`
    })
    .replace(/ann@[^\s,]+/g, 'ann@web-1')
    .replaceAll(`127.0.0.1:${port}`, 'redis.internal')
    .replace(/(\d{4}-\d\d-\d\d) (\d\d:\d\d)/g, (_all, day, time) =>
      new Date(NIGHT + Date.parse(`${day}T${time}Z`) - toMinute(started)).toISOString().slice(0, 16).replace('T', ' '))
}

/** What is on the screen after each piece: a line that is written over is replaced. */
function toScreens (pieces) {
  let text = ''
  const screens = pieces.map(piece => {
    const [first, ...over] = piece.replaceAll('\r\n', '\n').split('\r\u001b[K')
    text = over.reduce((sofar, line) => sofar.slice(0, sofar.lastIndexOf('\n') + 1) + line, text + first)
    return text.trimEnd().split('\n').flatMap(wrap)
  })
  // what is printed before the first progress is part of every screen
  return screens.length > 1 ? screens.slice(1) : screens
}

/** Breaks a long line between words. The codes of colours take no room. */
function wrap (line) {
  const rows = ['']
  // eslint-disable-next-line no-control-regex -- the colours of terminals
  const widthOf = text => text.replace(/\u001b\[\d+m/g, '').length
  for (const word of line.split(/(?<= )/)) {
    if (widthOf(rows.at(-1) + word.trimEnd()) > COLUMNS) rows.push('      ')
    rows[rows.length - 1] += word
  }
  return rows
}

const CHAR = 8.4
const LINE = 20
const escape = text => text.replace(/[&<>]/g, letter => `&#${letter.charCodeAt(0)};`)

function rowToSvg (row, y) {
  const [first, ...colored] = row.trimEnd().split('\u001b[')
  const parts = colored.map(part => part.replace(
    /^(\d+)m([^]*)/,
    (_all, color, text) => color === '39' ? escape(text) : `<tspan class="c${color}">${escape(text)}</tspan>`
  ))
  // eslint-disable-next-line no-control-regex -- the colours of terminals
  const width = row.trimEnd().replace(/\u001b\[\d+m/g, '').length * CHAR
  return `<text x="16" y="${48 + y * LINE}" textLength="${width.toFixed(1)}">${escape(first)}${parts.join('')}</text>\n`
}

/** A terminal that is dark on every ground. Screens that follow each other take turns; the last one stays longest. */
function draw (name, command, screens) {
  const rows = screens.at(-1)
  const fixed = rows.filter((row, i) => screens.every(screen => screen[i] === row)).length
  const height = 46 + rows.length * LINE
  const width = Math.round(32 + COLUMNS * CHAR)
  const last = screens.length - 1
  const percent = i => i > last ? 100 : Math.round(i * 70 / (last || 1))
  const frames = last === 0
    ? []
    : screens.map((screen, i) => ({
      style: `@keyframes f${i}{0%{visibility:${i === 0
        ? 'visible'
        : 'hidden'}}${percent(i)}%{visibility:visible}${percent(i +
        1)}%{visibility:${i === last
          ? 'visible'
          : 'hidden'}}}\n.f${i}{animation:f${i} ${2 * screens.length}s step-end infinite}\n`,
      group: `<g class="f${i}" visibility="${i === last ? 'visible' : 'hidden'}">\n${screen.map(
        (row, y) => y < fixed ? '' : rowToSvg(row, y)
      ).join('')}</g>\n`
    }))
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<style>
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;fill:#d6dde6;white-space:pre}
.c31{fill:#ff7b72}.c32{fill:#7ee787}.p{fill:#8b949e}
${frames.map(({ style }) => style).join('')}@media (prefers-reduced-motion:reduce){g{animation:none!important}}
</style>
<rect x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="8" fill="#161b22" stroke="#484f58"/>
<text x="16" y="28" textLength="${((command.length +
  2) * CHAR).toFixed(1)}"><tspan class="p">$ </tspan>${escape(command)}</text>
${rows.slice(0, last === 0 ? rows.length : fixed).map((row, y) => rowToSvg(row, y))
  .join('')}${frames.map(({ group }) => group).join('')}</svg>
`
  writeFileSync(join(root, 'docs/images', `${name}.svg`), svg)
  console.log(`docs/images/${name}.svg: ${svg.length} bytes`)
}

const order = ({ address }) => fetch(`${address}/orders`, { method: 'POST' }).catch(() => {})

async function picture (name, line) {
  draw(name, `npx fastify-maintenance ${line}`, toScreens(await type(line)))
}

try {
  await sleep(1000)
  for (let i = 0; i < 3; i++) servers.push(await startServer())
  order(servers[0])
  await sleep(500)
  order(servers[1])
  await sleep(1500)
  await picture('command-wait', 'on shop --message "Moving to a new database" --for 30m --wait')
  servers.push(await startServer({ PINNED: 'open' }))
  order(servers[0])
  await sleep(2000)
  await picture('command-status', 'status shop')
  await picture('command-servers', 'servers shop')
} finally {
  for (const child of children) child.kill()
}
