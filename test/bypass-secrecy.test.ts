import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Redis } from 'ioredis'
import t from 'tap'
import { createGuesses } from '../lib/bypass/request.ts'
import type { Pass } from '../lib/state/secret.ts'
import { parseRecord, serialiseRecord } from '../lib/state/record.ts'
import { openStore } from '../lib/stores/open.ts'
import { counter, createApp, KEY, until, stateFile } from './fixtures/app.ts'
import { closedApp, cookieOf, postBypass } from './fixtures/bypass.ts'
import { startRedis } from './fixtures/redis.ts'

t.test('every wrong secret gets the same answer, and never a 500', async t => {
  const { app, secret, run } = await closedApp(t)
  const wrong: unknown[] = ['', '{', 'null', '[]', '"x"', {}, {
    secret: ''
  }, { secret: 1 }, { secret: null }, { secret: [secret] }, { secret: { length: 32 } }, { secret: `${secret} ` },
  { secret: secret.slice(0, -1) }, { secret: 'x'.repeat(32) }, { secret: 'x'.repeat(3000) },
  { secret: 'x'.repeat(5000) }, { Secret: secret }, '{"__proto__":{"secret":"x"}}']
  const answers = new Set<string>()
  for (const [i, body] of wrong.entries()) {
    const { statusCode, body: text, headers } = await postBypass(app, body, { 'x-forwarded-for': `10.0.0.${i}` })
    answers.add(`${statusCode} ${text}`)
    t.notOk('set-cookie' in headers)
  }
  for (const type of ['text/plain', 'multipart/form-data', 'application/xml']) {
    const { statusCode, body } = await postBypass(app, { secret }, { 'content-type': type, 'x-forwarded-for': '10.0.1.1' })
    answers.add(`${statusCode} ${body}`)
  }
  t.strictSame([...answers], ['403 This secret is not valid (any more).\n'])
  for (const header of ['', 'x', secret.slice(1), 'x'.repeat(4000)]) {
    t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': header } })).statusCode, 503)
  }
  t.equal(run.runs, 0)
  t.ok(app.maintenance.status().counts.failedBypasses >= 20)
  t.equal(
    (await postBypass(app, { secret, next: '/'.padEnd(4096, 'a') }, { 'x-forwarded-for': '10.0.2.1' })).statusCode,
    403,
    'a body of more than 4 KB is rejected'
  )
  await app.maintenance.set(false)
  t.equal(
    (await postBypass(app, { secret }, { 'x-forwarded-for': '10.0.2.1' })).statusCode,
    403,
    'nothing to enter while the site is open'
  )
})

t.test('an invalid stored hash blocks everyone, and is no 500', async t => {
  const file = stateFile(t)
  const { app } = await createApp(t, { store: { file }, bypass: {} })
  const run = counter()
  app.get('/', run)
  await app.maintenance.set(true, { bypass: true })
  const { store } = await openStore({ file }, [])
  for (const hash of ['x', '\u0000', 'x'.repeat(200)]) {
    const whole = parseRecord(await store.read('default') as string)
    const record = { ...whole, windows: whole.windows.map(window => ({ ...window, bypass: hash })) }
    await store.write('default', serialiseRecord({
      ...record, revision: record.revision + 1
    }), { revision: record.revision + 1 })
    t.equal((await app.maintenance.refresh()).revision, record.revision + 1)
    for (const secret of ['', 'x', hash]) t.equal((await postBypass(app, { secret })).statusCode, 403)
    t.equal((await app.inject({
      url: '/', headers: { 'maintenance-bypass': 'x', cookie: 'maintenance=x' }
    })).statusCode, 503)
  }
  t.equal(run.runs, 0)
})

t.test('wrong guesses are limited by address, in bounded memory', async t => {
  const { app, secret } = await closedApp(t)
  for (let i = 0; i < 20; i++) await postBypass(app, { secret: 'wrong' }, { 'x-forwarded-for': '10.0.0.1' })
  t.equal((await postBypass(app, { secret }, { 'x-forwarded-for': '10.0.0.1' })).statusCode, 403)
  t.equal((await postBypass(app, { secret }, { 'x-forwarded-for': '10.0.0.2' })).statusCode, 204, 'another address')
  const guesses = createGuesses()
  const guess = (ip: string | undefined, right = false) =>
    guesses.check({ ip, raw: { headers: {} } } as never, [{ isSecret: () => right } as unknown as Pass], '')
  for (let i = 0; i < 20; i++) guess('192.0.2.1')
  for (let i = 0; i < 25_000; i++) guess(`10.0.${i >> 8}.${i & 255}`)
  t.equal(guess('192.0.2.1', true), false, 'others do not unlock an address')
  t.equal(guess('192.0.2.2', true), true, 'nor lock another one out')
  t.equal(guesses.wrong, 20 + 25_000 + 1)
  for (let i = 0; i < 19; i++) guess('10.0.97.0')
  t.equal(guess('10.0.97.0', true), false, 'the latest ten thousand are kept')
  t.equal(guess('10.0.0.0', true), true, 'the oldest are not')
})

t.test('wrong guesses: one client has one address in every spelling', async t => {
  const clients: [string | undefined, ...(string | undefined)[]][] = [
    ['192.0.2.1', '::ffff:192.0.2.1', '::FFFF:c000:201', '192.0.2.1:4711', '[::ffff:192.0.2.1]:80'],
    ['2001:db8:1:2::1', '2001:0DB8:1:2:ffff::', '2001:db8:1:2:3:4:5:6', '[2001:db8:1:2::9]:443', '[2001:db8:1:2::9]'],
    ['fe80::1%eth0', 'fe80::2'],
    [undefined, '', 'unknown', '_hidden', '1.2.3', 'x'.repeat(4000)]
  ]
  const guesses = createGuesses()
  const guess = (ip: string | undefined, right = false) =>
    guesses.check({ ip, raw: { headers: {} } } as never, [{ isSecret: () => right } as unknown as Pass], '')
  for (const spellings of clients) {
    for (let i = 0; i < 20; i++) guess(spellings[i % spellings.length])
    for (const ip of spellings) t.equal(guess(ip, true), false, String(ip).slice(0, 40))
  }
  for (const ip of ['192.0.2.2', '2001:db8:1:3::1', '::1', '::192.0.2.1']) t.equal(guess(ip, true), true, String(ip))
})

t.test('a wrong guess counts once, even if the gate is asked twice, and for a minute only', async t => {
  const { app } = await closedApp(t, {
    ignore: { request: request => app.maintenance.explain(request).blocked === false }
  })
  t.equal((await app.inject({ url: '/', headers: { 'maintenance-bypass': 'x' } })).statusCode, 503)
  t.equal(app.maintenance.status().counts.failedBypasses, 1)

  const guesses = createGuesses()
  let now = 1_000_000
  t.intercept(Date, 'now', { value: () => now })
  const guess = (right: boolean, ip = '192.0.2.1') =>
    guesses.check({ ip, raw: { headers: {} } } as never, [{ isSecret: () => right } as unknown as Pass], '')
  for (let i = 0; i < 19; i++) guess(false)
  t.equal(guess(true), true, 'after 19')
  now += 59_999
  t.equal(guess(false), false)
  t.equal(guess(true), false, 'after 20')
  t.equal(guess(true, '192.0.2.2'), true)
  now++
  t.equal(guess(true), true, 'a minute after the first')
})

/** Processes and temporary files may disappear while they are read. */
function readIfThere (file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

/** Arguments and environment of every process on this machine, as `ps` shows them. */
const processList = (): string[] => readdirSync('/proc').filter(name => /^\d+$/.test(name))
  .map(pid => ['cmdline', 'comm', 'environ'].map(
    file => readIfThere(`/proc/${pid}/${file}`).replaceAll('\0', ' ')
  ).join('\n'))

/** Runs the command as a process; returns its output and what `ps` showed during and after it. */
async function runCommand (args: string[]): Promise<{ out: string, seen: Set<string> }> {
  const child = spawn(process.execPath, ['dist/lib/cli/bin.js', ...args], {
    env: { PATH: process.env.PATH, _TAPJS_PROCESSINFO_COVERAGE_: '0' }, stdio: ['ignore', 'pipe', 'inherit']
  })
  const seen = new Set<string>()
  const scan = () => { for (const text of processList()) seen.add(text) }
  const scanning = setInterval(scan, 5)
  const [out] = await Promise.all([text(child.stdout), once(child, 'exit')])
  clearInterval(scanning)
  scan()
  return { out, seen }
}

t.test('the secret of a whole session is in no log, answer, store or process list', {
  skip: existsSync('/proc/self/cmdline') ? false : 'no /proc'
}, async t => {
  // not the test's folder: a mirror may still be written after its server has closed
  const directory = mkdtempSync(join(tmpdir(), 'maintenance-bypass-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }))
  const { url, client } = await startRedis(t)
  const commands: string[] = []
  const monitor = await client.monitor()
  t.teardown(() => monitor.disconnect())
  monitor.on('monitor', (_time: string, args: string[]) => { commands.push(args.join(' ')) })

  for (const [store, address] of [
    [{ file: `${directory}/state.json` }, `file:${directory}/state.json`],
    [{ redis: url, mirror: `${directory}/mirror.json` }, url]
  ] as const) {
    const changes: unknown[] = []
    const answers: string[] = []
    const { app, lines } = await createApp(
      t,
      { store, bypass: { key: KEY }, onChange: (...change) => { changes.push(change) } },
      { trustProxy: '127.0.0.1' }
    )
    app.get('/', counter())
    const base = await app.listen({ port: 0, host: '127.0.0.1' })
    const visit = async (path: string, init: RequestInit = {}) => {
      const answer = await fetch(base + path, { redirect: 'manual', ...init })
      answers.push(JSON.stringify([answer.status, [...answer.headers], await answer.text()]))
      t.match(answer.headers.get('cache-control'), /no-store/, 'not cached')
      return answer
    }
    const send = (type: string, body: string, path = '/maintenance/bypass') =>
      visit(path, { method: 'POST', headers: { 'content-type': type }, body })

    const command = await runCommand(['on', '--bypass', '--json', '--store', address])
    const [printed] = JSON.parse(command.out).sites
    await until('the change is read', () => app.maintenance.status().revision === printed.revision)
    const secrets: string[] = [printed.bypass.secret]
    for (const made of ['command', 'set']) {
      if (made === 'set') secrets.push((await app.maintenance.set(true, { bypass: true })).bypass?.secret as string)
      const secret = secrets.at(-1) as string
      const json = await send('application/json', JSON.stringify({ secret, next: '/' }))
      const visits = [
        visit('/'), visit('/maintenance/bypass'),
        visit('/maintenance/bypass?next=/', { headers: { 'maintenance-bypass': secret } }), json,
        send('application/x-www-form-urlencoded', `secret=${secret}`),
        visit('/', { headers: { 'maintenance-bypass': secret } }),
        visit('/', { headers: { cookie: cookieOf({ headers: Object.fromEntries(json.headers) }) } }),
        // almost right
        send('application/json', JSON.stringify({ secret: `${secret}x` })),
        send('application/json', `{"secret":"${secret}`), send('text/plain', secret),
        send('application/json', JSON.stringify({ secret: secret.repeat(200) })),
        send('application/x-www-form-urlencoded', `secret=${secret}+`),
        send('application/x-www-form-urlencoded', `secret=${secret}`, '/'),
        visit('/', { headers: { 'maintenance-bypass': `${secret}, ${secret}` } })
      ]
      t.strictSame((await Promise.all(visits)).map(answer => answer.status), [
        503, 200, 200, 204, 303, 200, 200, 403, 403, 403, 403, 403, 503, 503
      ])
    }
    for (let i = 0; i < 20; i++) await send('application/json', JSON.stringify({ secret: `${secrets[1]}x` }))
    t.equal((await send('application/json', JSON.stringify({ secret: secrets[1] }))).status, 403, 'the limit')
    const status = app.maintenance.status()
    const { revision } = await app.maintenance.set(false)
    const history = await app.maintenance.history()
    if ('redis' in store) {
      await until('the monitor has everything', () => commands.some(
        command => command.includes(`"revision":${revision}`)
      ))
      await until('the mirror has it', () => readFileSync(store.mirror, 'utf8').includes(`${revision}`))
    }
    await app.close()

    const places: Record<string, [string, RegExp]> = {
      'the log': [JSON.stringify(lines), /incoming request.*maintenance: request blocked/],
      'the events and status': [JSON.stringify([changes, status, history]), /"active":true/],
      'the answers': [answers.join(), /Enter during maintenance.*maintenance=v1\./],
      'the output of ps': [[...command.seen].join('\n'), /lib\/cli\/bin\.js on --bypass/],
      'the files': [readdirSync(directory).map(name => readIfThere(`${directory}/${name}`)).join('\n'), /windows/],
      'the commands to Redis': [commands.join('\n'), 'redis' in store ? /windows/ : /^/],
      'the data in Redis': [await dump(client), 'redis' in store ? /windows/ : /^/]
    }
    for (const [place, [text, sample]] of Object.entries(places)) {
      t.match(text.replaceAll('\n', ' '), sample, `${place}: it was checked`)
      for (const secret of secrets) t.equal(text.split(secret).length - 1, 0, `${place}: 0 hits`)
    }
  }
})

function dumpKey (client: Redis, key: string, type: string): Promise<unknown> {
  if (type === 'hash') return client.hgetall(key)
  return type === 'zset' ? client.zrange(key, '0', '-1') : client.lrange(key, 0, -1)
}

async function dump (client: Redis): Promise<string> {
  const keys = await client.keys('*')
  const values = await Promise.all(keys.map(async key => dumpKey(client, key, await client.type(key))))
  return JSON.stringify([keys, values])
}
