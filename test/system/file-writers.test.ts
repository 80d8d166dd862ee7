import { execFileSync, fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { lstatSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { closeSite, openSite } from '../../lib/state/edit.ts'
import { parseRecord } from '../../lib/state/record.ts'
import { updateRecord } from '../../lib/state/write.ts'
import { createFileStore } from '../../lib/stores/file/file-store.ts'
import { beside, cleared, directory, ENV, message, serve, start, stored, timed } from '../fixtures/file-store.ts'
import { retried, until } from '../fixtures/app.ts'

t.test('a change in one process closes and opens other processes on the same file', async t => {
  const file = join(directory(t), 'state.json')
  const link = join(directory(t), 'link.json')
  symlinkSync(file, link)
  const kinds: Record<string, string[]> = {
    'with a watch': [file],
    'if watching throws': [file, 'watch-throws.mjs'],
    'if watching is silent': [file, 'watch-silent.mjs'],
    'through a link': [link],
    'through a link, if watching is silent': [link, 'watch-silent.mjs']
  }
  const urls = await Promise.all(Object.values(kinds).map(async ([path, ...preload]) =>
    (await message<{ url: string }>(start(t, 'file-server.ts', [path!], preload))).url))
  const { api } = await serve(t, link)
  const statuses = (): Promise<number[]> => Promise.all(urls.map(url => fetch(url).then(async answer => {
    await answer.arrayBuffer()
    return answer.status
  })))

  t.same(await statuses(), urls.map(() => 200))
  for (const [on, expected] of [[true, 503], [false, 200], [true, 503]] as const) {
    await api.set(on)
    for (const [i, kind] of Object.keys(kinds).entries()) {
      await until(`${expected} ${kind}`, async () => (await statuses())[i] === expected)
    }
    t.same(await statuses(), urls.map(() => expected))
  }
  t.ok(lstatSync(link).isSymbolicLink(), 'the link is still a link')
})

t.test('20 writers are killed at random moments', async t => {
  const file = join(directory(t), 'state.json')
  const store = createFileStore(file)
  // compiled once, so that 20 processes start in a third of the time that tsx takes
  const compiled = t.testdir()
  execFileSync(process.execPath, [
    'node_modules/typescript/bin/tsc', 'test/fixtures/file-writer.ts', '--outDir', compiled, '--ignoreConfig',
    '--noCheck',
    '--rootDir', '.', '--module', 'nodenext', '--target', 'es2022', '--types', 'node',
    '--rewriteRelativeImportExtensions'
  ], { cwd: new URL('../..', import.meta.url), env: ENV })
  const boot = (): { child: ChildProcess, ready: Promise<string> } => {
    const child = fork(join(compiled, 'test/fixtures/file-writer.js'), [file, 'loop'], { execArgv: [], env: ENV })
    t.teardown(() => child.kill('SIGKILL'))
    const ready = message<string>(child)
    // awaited later, or never if the test has failed by then
    ready.catch(() => {})
    return { child, ready }
  }
  const pool = [boot(), boot()]
  let left = 0
  let most = 0
  let slowest = 0
  let writes = 0
  for (let kill = 0; kill < 20; kill++) {
    const { child, ready } = pool.shift()!
    if (kill < 18) pool.push(boot())
    await ready
    let received = 0
    const first = message<number>(child)
    child.on('message', revision => {
      received = revision as number
      writes++
    })
    child.send('go')
    await first
    // no wait for a condition: this is the random moment
    await sleep(Math.random() * 25)
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit

    const { revision } = parseRecord(await store.read('default') as string)
    if (revision < received) t.fail(`kill ${kill}: revision ${received} was reported, but is lost (${revision})`)
    const names = beside(file)
    if (names.length > 0) left++
    most = Math.max(most, names.length)
    // every other time, the next writer finds the files that this one left
    if (kill % 2 === 0) {
      slowest = Math.max(slowest, await timed(retried(() => updateRecord(store, 'default', { edit: closeSite({}) }))))
    }
  }
  t.ok(left > 0, `${left} of 20 kills hit a write (${writes} writes)`)
  t.ok(most <= 2, `a kill leaves at most ${most} files`)
  t.comment(`the slowest write after a kill took ${slowest.toFixed()} ms`)
  await retried(() => updateRecord(store, 'default', { edit: openSite({}) }))
  t.same(beside(file), [], 'one more write removes them')
})

t.test('four processes that share a counter lose no increment', async t => {
  const file = join(directory(t), 'state.json')
  await updateRecord(createFileStore(file), 'default', { edit: closeSite({ message: '0' }) })
  const received: [number, number][] = []
  const children = Array.from({ length: 4 }, () => start(t, 'file-writer.ts', [file, 'count']))
  await Promise.all(children.map(message))
  const exits = children.map(async child => {
    child.on('message', pair => received.push(pair as [number, number]))
    const [code] = await once(child, 'exit')
    t.equal(code, 0)
  })
  for (const child of children) child.send('go')
  await Promise.all(exits)

  received.sort(([a], [b]) => a - b)
  t.same(received.map(([number]) => number), Array.from({ length: 100 }, (_, i) => i + 1))
  t.ok(received.every(([, revision], i) => i === 0 || revision > received[i - 1]![1]), 'revisions strictly increase')
  t.equal(stored(file).windows[0]?.message, '100')
  await cleared(t, file)
})
