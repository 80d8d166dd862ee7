import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { createFileHistory } from '../lib/stores/file/history.ts'
import { createApp, retried, stateFile } from './fixtures/app.ts'
import { CLOSED, freshRecord, storedWindow, textOf } from './fixtures/records.ts'
import { createTestStore } from './fixtures/store.ts'

t.test("history: newest first, at most 100; this process's if the store keeps none", async t => {
  const store = createTestStore()
  const { app } = await createApp(t, { store })
  for (let i = 0; i < 103; i++) await app.maintenance.set(i % 2 === 0, { by: `n${i}` })
  const history = await app.maintenance.history()
  t.equal(history.length, 100)
  t.match(history[0], {
    by: 'n102',
    kind: 'closed',
    mode: 'full',
    message: null,
    startsAt: null,
    endsAt: null,
    revision: app.maintenance.status().revision
  })
  t.strictSame((await app.maintenance.history({ limit: 2 })).map(entry => entry.by), ['n102', 'n101'])
  await t.rejects(app.maintenance.history({ limits: 1 } as never), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /unknown field 'limits'. Did you mean limit/
  })
  await t.rejects(app.maintenance.update({ message: 'x' }, { windows: 'a' } as never), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /unknown field 'windows'. Did you mean window/
  })
  await t.rejects(app.maintenance.update({ message: 'x' }, 'an ID' as never), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /the options is 'an ID', expected an object/
  })
  for (const limit of [0, 101, 1.5, '5' as unknown as number]) {
    await t.rejects(app.maintenance.history({ limit }), {
      code: 'FST_ERR_MAINTENANCE_CHANGE', message: /limit is .* expected an integer from 1 to 100/
    })
  }
})

t.test('history: beside a state file, shared by all its servers, also with simultaneous writes', async t => {
  const file = stateFile(t)
  const one = await createApp(t, { store: { file }, sites: ['default', 'b'] })
  const two = await createApp(t, { store: { file } })
  await Promise.all(Array.from(
    { length: 4 },
    (_, i) => retried(() => (i % 2 === 0 ? one : two).app.maintenance.set(true, { by: `n${i}` }))
  ))
  const history = await two.app.maintenance.history()
  t.strictSame([...new Set(history.map(entry => entry.by))].sort(), Array.from({ length: 4 }, (_, i) => `n${i}`))
  t.strictSame(history, await one.app.maintenance.history())
  t.strictSame(await one.app.maintenance.for('b').history(), [])
  await one.app.maintenance.for('b').set(true, { message: 'x'.repeat(10_000) })
  for (let i = 0; i < 6; i++) await one.app.maintenance.for('b').set(true, { message: `${i}`.repeat(10_000) })
  t.strictSame(
    (await one.app.maintenance.for('b').history()).map(entry => String(entry.message)[0]),
    ['5', '4', '3', '2'],
    'the oldest are removed'
  )
  t.strictSame(await two.app.maintenance.history(), history)
  writeFileSync(`${file}.history`, 'garbage')
  await t.rejects(one.app.maintenance.history(), { code: 'FST_ERR_MAINTENANCE_STORE' })
  await one.app.maintenance.set(false, { by: 'still' })
  t.equal(one.app.maintenance.active, false)
  t.match(await two.app.maintenance.history(), [{ by: 'still' }], 'the next entry replaces the garbage')
  rmSync(`${file}.history`)
  mkdirSync(`${file}.history`)
  await one.app.maintenance.set(true)
  t.equal(one.app.maintenance.active, true, 'the write is kept without its entry')
})

t.test('history: simultaneous writers lose no entry', async t => {
  const pages = createTestStore()
  const { appendHistory, listHistory } = createFileHistory(pages)
  await Promise.all(Array.from({ length: 5 }, (_, i) => appendHistory('x', `${i}`)))
  t.strictSame((await listHistory('x', 100)).sort(), ['0', '1', '2', '3', '4'])
  pages.beforeWrite = () => Promise.reject(new Error('disk full'))
  await t.rejects(appendHistory('x', '5'), { message: 'disk full' })
  pages.beforeRead = () => Promise.reject(new Error('disk gone'))
  await t.rejects(appendHistory('x', '6'), { message: 'disk gone' }, 'only garbage starts a new history')
})

t.test('history: invalid entries are skipped', async t => {
  const store = Object.assign(createTestStore(), {
    listHistory: async () => ['garbage', freshRecord(CLOSED, { by: 'ops' })]
  })
  const { app } = await createApp(t, { store })
  t.match(await app.maintenance.history(), [{ kind: 'closed', by: 'ops' }])
})

t.test('history: entries of other versions, without their change', async t => {
  const entries = [textOf([storedWindow()], { revision: 7 }), textOf([], { revision: 6 })]
  const store = Object.assign(createTestStore(), { listHistory: async () => entries })
  const { app } = await createApp(t, { store })
  t.match(await app.maintenance.history(), [
    { revision: 7, kind: 'closed', mode: null }, { revision: 6, kind: 'opened' }
  ])
})
