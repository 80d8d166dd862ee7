import type { FastifyInstance } from 'fastify'
import type { BrowserContextOptions, Page } from 'playwright-core'
import t from 'tap'
import maintenance from '../../index.ts'
import { bareApp, createApp, until } from '../fixtures/app.ts'
import { launch, noBrowser, open, screenshots, violations } from '../fixtures/browser.ts'
import { addEarlier } from '../fixtures/headers.ts'

t.test('the page in a real browser', { skip: noBrowser }, async t => {
  const browser = await launch(t)

  t.test('light, dark, phone, right to left: legible, and nothing blocked by its policy', async t => {
    const { app } = await createApp(t)
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    const looks: [string, BrowserContextOptions][] = [
      ['light', { locale: 'en-GB', timezoneId: 'Europe/London' }],
      ['dark', { locale: 'de-DE', colorScheme: 'dark', timezoneId: 'Europe/Berlin' }],
      ['phone', { locale: 'ja-JP', viewport: { width: 320, height: 640 }, timezoneId: 'Asia/Tokyo' }],
      ['rtl', { locale: 'ar-EG', timezoneId: 'Africa/Cairo' }],
      ['reduced', { locale: 'fr-FR', reducedMotion: 'reduce', forcedColors: 'active' }]
    ]
    await app.maintenance.set(true, { endsAt: new Date(Date.now() + 3_000_000) })
    for (const [name, options] of looks) {
      const { page, problems } = await open(t, browser, options)
      await page.goto(`${address}/some/page?a=b#c`)
      t.equal(await page.locator('html').getAttribute('dir'), name === 'rtl' ? 'rtl' : 'ltr')
      const end = new Date(app.maintenance.status().endsAt as string)
      const timeZone = options.timezoneId ?? process.env.TZ ?? 'UTC'
      const dayOf = (date: Date): string => date.toLocaleDateString('en', { timeZone })
      const isToday = dayOf(end) === dayOf(new Date())
      const words = new Intl.DateTimeFormat(options.locale, {
        hour: 'numeric',
        minute: '2-digit',
        timeZoneName: 'short',
        timeZone,
        ...(isToday ? {} : { weekday: 'long', month: 'long', day: 'numeric' })
      }).format(end)
      t.equal(await page.locator('time').textContent(), words, `${name}: the end in the visitor's time zone`)
      t.match(await page.locator('#left').textContent(), /50|٥٠/)
      t.ok(await page.locator('#status').isVisible())
      t.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${name}: nothing overflows`)
      t.strictSame(await violations(page), [], `${name}: axe-core`)
      if (screenshots !== undefined) await page.screenshot({ path: `${screenshots}/${name}.png` })
      t.strictSame(problems, [], name)
    }
  })

  t.test('with helmet, CORS and a request id, in every encoding that the browser accepts', async t => {
    const { app } = bareApp(t)
    for (const earlier of ['helmet', 'cors', 'a request id', 'Content-Encoding']) await addEarlier(app, earlier)
    await app.register(maintenance)
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    await app.maintenance.set(true)
    const { page, problems } = await open(t, browser)
    const answer = await page.goto(`${address}/page`)
    t.match(await answer?.allHeaders(), {
      'content-encoding': /^(br|gzip)$/, 'x-frame-options': 'SAMEORIGIN', 'x-request-id': 'r1'
    })
    t.equal(await page.locator('h1').textContent(), 'Down for maintenance')
    t.ok(await page.locator('#status').isVisible(), 'its script runs')
    t.strictSame(problems, [])
  })

  t.test('it returns automatically to the same page', async t => {
    const { app } = await createApp(t)
    app.get('/page', async (_request, reply) => reply.type('text/html').send('<h1>open</h1>'))
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    await app.maintenance.set(true, { message: 'One moment\nplease' })
    const { page, problems } = await open(t, browser)
    await page.clock.install()
    await page.goto(`${address}/page#part`)
    t.equal(await page.locator('.message').innerText(), 'One moment\nplease')
    await asksAgain(page, app)
    t.equal(await page.locator('h1').textContent(), 'Down for maintenance', 'still closed')
    await app.maintenance.set(false)
    await page.clock.fastForward(41_000)
    await page.getByText('open', { exact: true }).waitFor()
    t.equal(page.url(), `${address}/page#part`)
    t.strictSame(problems, [])
  })

  t.test('a blocked form is not posted again', async t => {
    const { app } = await createApp(t)
    const methods: string[] = []
    app.addContentTypeParser('application/x-www-form-urlencoded', (_request, _payload, done) => done(null))
    app.get('/form', { config: { maintenance: 'off' } }, async (_request, reply) => reply.type('text/html').send(
      '<form method="post" action="/only-post"><button>Send</button></form>'
    ))
    app.route({
      method: ['GET', 'POST'],
      url: '/both',
      exposeHeadRoute: true,
      handler: async request => { methods.push(request.method) }
    })
    app.get('/', async () => 'home')
    app.post('/only-post', async request => { methods.push(request.method) })
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    const { page, problems } = await open(t, browser)
    await page.clock.install()
    await app.maintenance.set(true)
    await page.goto(`${address}/form`)
    await page.getByText('Send').click()
    await page.getByText('Down for maintenance', { exact: true }).first().waitFor()
    await app.maintenance.set(false)
    await page.clock.fastForward(41_000)
    await page.getByText("We're back.", { exact: true }).waitFor()
    t.ok(await page.getByText('Go to the home page').isVisible())
    t.strictSame(methods, [])
    t.strictSame(problems, [])
  })

  t.test('read-only: the blocked request was a write, so the page stays', async t => {
    const { app } = await createApp(t)
    app.get('/unsubscribe', { config: { maintenance: 'write' } }, async () => 'done')
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    await app.maintenance.set(true, { mode: 'read-only' })
    const { page } = await open(t, browser)
    await page.goto(`${address}/unsubscribe`)
    t.equal(await page.locator('h1').textContent(), 'Read-only for now')
    t.notOk(await page.locator('#status').isVisible())
  })

  t.test('without script it shows a hint and a link', async t => {
    const { app } = await createApp(t)
    app.get('/page', async () => 'open')
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    await app.maintenance.set(true, { endsAt: '2999-01-01T00:00:00Z' })
    const { page, problems } = await open(t, browser, { javaScriptEnabled: false })
    await page.goto(`${address}/page`)
    t.equal(await page.locator('time').textContent(), '2999-01-01 00:00 UTC')
    t.notOk(await page.locator('#status').isVisible())
    t.ok(await page.getByText('JavaScript is off').isVisible())
    await app.maintenance.set(false)
    await page.getByText('Try again', { exact: true }).click()
    await page.getByText('open', { exact: true }).waitFor()
    t.strictSame(problems, [])
  })
})

/** Advances the page's clock: it checks within 40 s, and the server sees it. */
async function asksAgain (page: Page, app: FastifyInstance): Promise<void> {
  const { blocked } = app.maintenance.status().counts
  await page.clock.fastForward(41_000)
  await until('the page checks', () => app.maintenance.status().counts.blocked > blocked)
}
