import type { FastifyReply } from 'fastify'
import type { BrowserContextOptions, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { LANGUAGES, wordsOf } from '../../lib/answer/texts.ts'
import type { FastifyMaintenanceOptions } from '../../types/index.ts'
import { bareApp, createApp, until } from '../fixtures/app.ts'
import { blocksOf } from '../fixtures/docs.ts'
import { launch, noBrowser, open, screenshots, violations } from '../fixtures/browser.ts'
import { LOOKS, show, windowOf } from '../fixtures/looks.ts'

t.test('how the page looks, and how it returns to the site', { skip: noBrowser }, async t => {
  const browser = await launch(t)

  async function visit (t: Test, path: string, { plugin = {}, context = {} }: {
    plugin?: FastifyMaintenanceOptions; context?: BrowserContextOptions
  } = {}) {
    const { app } = await createApp(t, plugin)
    let html = async (reply: FastifyReply): Promise<unknown> => reply.type('text/html').send('<h1>open</h1>')
    app.get('/page', async (_request, reply) => html(reply))
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    await app.maintenance.set(true)
    const opened = await open(t, browser, context)
    await opened.page.clock.install()
    await opened.page.goto(address + path)
    return { app, address, ...opened, answerWith (work: typeof html) { html = work } }
  }

  t.test('in every language and mode, at 320 px, dark and light: no axe violation or overflow', async t => {
    const logo = '<svg viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="#888"/></svg>'
    const { app } = await createApp(t, {
      hold: { timeout: 1 }, response: { brand: { name: 'An Application With a Name', logo, color: '#777' } }
    })
    app.get('/write', { config: { maintenance: 'write' } }, async () => 'done')
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    const looks: BrowserContextOptions[] = [
      { viewport: { width: 320, height: 640 }, colorScheme: 'dark' },
      { viewport: { width: 320, height: 640 }, javaScriptEnabled: false },
      { viewport: { width: 3840, height: 2160 }, forcedColors: 'active', reducedMotion: 'reduce' }
    ]
    const changes = [{}, { mode: 'read-only' }, { mode: 'hold' }, { endsAt: '+3d' }] as const
    for (const [i, language] of LANGUAGES.entries()) {
      const look = looks[i % looks.length] as BrowserContextOptions
      const { page, problems, context } = await open(t, browser, { locale: language, ...look })
      for (const change of language === 'en' || language === 'ar' ? changes : [changes[i % changes.length] as object]) {
        await app.maintenance.set(true, change)
        await page.goto(`${address}/write`)
        const mode = app.maintenance.status().mode ?? 'full'
        const name = `${language} ${mode} ${look.viewport?.width}`
        t.equal(await page.locator('h1').textContent(), wordsOf({}, language, mode).title, name)
        t.equal(await page.locator('html').getAttribute('dir'), language === 'ar' ? 'rtl' : 'ltr')
        if (look.javaScriptEnabled !== false) {
          if (i < 4 || language === 'ar') t.strictSame(await violations(page), [], `${name}: axe-core`)
          t.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${name}: nothing overflows`)
        }
        if (screenshots !== undefined) {
          await page.screenshot({ path: `${screenshots}/page-${name.replaceAll(' ', '-')}.png` })
        }
      }
      t.strictSame(problems, [], language)
      await context.close()
    }
  })

  t.test('in every look of the contact sheet: no axe violation or overflow', async t => {
    for (const look of LOOKS) {
      const { app } = await createApp(t, look.plugin)
      app.get('/page', { config: { maintenance: 'write' } }, async () => 'open')
      const address = await app.listen({ port: 0, host: '127.0.0.1' })
      await app.maintenance.set(true, windowOf(look, Date.now()))
      await until('the planned window has begun', () => app.maintenance.active)
      const { page, problems, context } = await open(t, browser, look.context)
      await show(page, `${address}/page`, look)
      t.equal(
        await page.locator('#no-script').isVisible(),
        look.script === false,
        `${look.name}: with or without script`
      )
      t.strictSame(await violations(page), [], `${look.name}: axe-core`)
      t.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${look.name}: nothing overflows`)
      t.strictSame(problems, [], look.name)
      await context.close()
    }
  })

  t.test('it returns to the full URL, with the fragment for client-side routers', async t => {
    for (const path of ['/page?a=b#/orders/42', '/page#']) {
      const { app, page, address, problems } = await visit(t, path)
      await app.maintenance.set(false)
      await comesBack(page)
      t.equal(page.url(), `${address}${path}`)
      t.strictSame(problems, [])
    }
  })

  t.test('any redirect means that the site is back', async t => {
    const login = bareApp(t).app
    login.get('/', async (_request, reply) => reply.type('text/html').send('<h1>Login</h1>'))
    const elsewhere = (await login.listen({ port: 0, host: '127.0.0.1' })).replace('127.0.0.1', 'localhost')
    const { app, page, answerWith } = await visit(t, '/page')
    answerWith(async reply => reply.redirect(elsewhere))
    await app.maintenance.set(false)
    await page.clock.fastForward(41_000)
    await page.getByText('Login').waitFor()
  })

  t.test('any answer except a page or a redirect means not yet, and it keeps checking', async t => {
    const { app, page, answerWith } = await visit(t, '/page')
    let asked = 0
    let status = 429
    answerWith(async reply => {
      asked++
      return reply.code(status).type('text/html').send('<h1>no</h1>')
    })
    await app.maintenance.set(false)
    for (status of [429, 403, 401, 410, 500, 404, 501]) {
      const before = asked
      await page.clock.fastForward(41_000)
      await until(`asked, ${status}`, () => asked > before)
      t.equal(await page.locator('h1').textContent(), wordsOf({}, 'en', 'full').title, String(status))
      t.notOk(await page.getByText("We're back.", { exact: true }).isVisible(), String(status))
    }
    answerWith(async reply => reply.type('text/html').send('<h1>open</h1>'))
    await comesBack(page)
  })

  t.test('it uses GET if the server does not support HEAD', async t => {
    for (const refusal of [404, 405, 501]) {
      const { app, page } = await visit(t, '/page')
      app.server.prependListener('request', (request, response) => {
        if (request.method === 'HEAD' && !app.maintenance.active) response.writeHead(refusal).end()
      })
      await app.maintenance.set(false)
      await comesBack(page)
    }
  })

  t.test('a blocked form: the home page is offered once it is back', async t => {
    const { app, page } = await visit(t, '/only-a-form')
    await app.maintenance.set(false)
    await asksAgain(page, '/only-a-form')
    t.notOk(await page.getByText('Go to the home page').isVisible(), 'no page of the site is back yet')
    app.server.prependListener('request', (request, response) => {
      if (request.url === '/') response.writeHead(200).end()
    })
    await page.clock.fastForward(41_000)
    await page.getByText('Go to the home page').waitFor()
    t.ok(await page.getByText("We're back.", { exact: true }).isVisible())
  })

  t.test('a download does not keep the visitor waiting, and does not start repeatedly', async t => {
    const { app, page, answerWith } = await visit(t, '/page')
    answerWith(async reply => reply.header('content-disposition', 'attachment; filename="a"').send('a'))
    await app.maintenance.set(false)
    await page.clock.fastForward(41_000)
    await page.getByText('Go to the home page').waitFor()
  })

  t.test('a public status is requested first, and the page only once the site is open', async t => {
    const { app, page } = await visit(t, '/page#part', { plugin: { publicStatus: '/status' } })
    const { blocked } = app.maintenance.status().counts
    const answer = page.waitForResponse(/\/status$/)
    await page.clock.fastForward(41_000)
    t.strictSame((await (await answer).json()).active, true)
    t.equal(app.maintenance.status().counts.blocked, blocked, 'the page was not requested')
    await app.maintenance.set(false)
    await comesBack(page)
    t.match(page.url(), /\/page#part$/)
  })

  t.test('an invalid status does not keep it waiting', async t => {
    const { app, page } = await visit(t, '/page', { plugin: { publicStatus: '/status' } })
    await page.route('**/status', route => route.fulfill({ status: 200, body: 'a page of the proxy' }))
    await app.maintenance.set(false)
    await comesBack(page)
  })

  t.test('an old browser without Intl.RelativeTimeFormat shows the end, and returns', async t => {
    const { app } = await createApp(t)
    app.get('/page', async (_request, reply) => reply.type('text/html').send('<h1>open</h1>'))
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    await app.maintenance.set(true, { endsAt: '2999-01-01T00:00:00Z' })
    for (const missing of [
      'delete Intl.RelativeTimeFormat',
      'delete window.Intl',
      "Object.defineProperty(navigator, 'languages', { value: undefined })"
    ]) {
      const { page, problems } = await open(t, browser)
      await page.addInitScript(missing)
      await page.clock.install()
      await page.goto(`${address}/page`)
      t.match(await page.locator('time').textContent(), /2999/, missing)
      t.ok(await page.locator('#status').isVisible(), missing)
      t.strictSame(problems, [], missing)
    }
    const { page } = await open(t, browser)
    await page.addInitScript('delete window.fetch')
    await page.goto(`${address}/page`)
    t.notOk(await page.locator('#status').isVisible(), 'it cannot check')
    t.ok(await page.getByText('Try again').isVisible())
    t.notOk(await page.getByText('JavaScript is off').isVisible())
    const current = await open(t, browser)
    await current.page.addInitScript('delete Intl.RelativeTimeFormat')
    await current.page.clock.install()
    await current.page.goto(`${address}/page`)
    await app.maintenance.set(false)
    await comesBack(current.page)
  })

  t.test('the service worker in docs/the-answer.md caches neither the page nor its events', async t => {
    const worker = blocksOf('docs/the-answer.md').find(({ code }) => code.startsWith('// service-worker.js'))?.code
    const { app } = await createApp(t)
    app.get(
      '/worker.js',
      { config: { maintenance: 'off' } },
      async (_request, reply) => reply.type('text/javascript').send(worker)
    )
    app.get('/page', async (_request, reply) => reply.type('text/html').send('<h1>open</h1>'))
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    const { page, problems } = await open(t, browser)
    const run = async (code: string): Promise<unknown> => page.evaluate(`(async () => { ${code} })()`)
    const heading = async () => page.locator('h1').textContent()

    await page.goto(`${address}/page`)
    await run("await navigator.serviceWorker.register('/worker.js'); await navigator.serviceWorker.ready")
    await page.reload()
    t.equal(await run('return navigator.serviceWorker.controller.state'), 'activated')
    await app.maintenance.set(true)
    await page.clock.install()
    await page.goto(`${address}/page`)
    t.equal(await heading(), wordsOf({}, 'en', 'full').title)
    t.equal(await run("return (await fetch('/events', { headers: { accept: 'text/event-stream' } })).status"), 200)
    t.strictSame(await run(
      "return (await (await caches.open('pages')).keys()).map(({ url }) => new URL(url).pathname)"
    ), ['/page'])
    await app.maintenance.set(false)
    await comesBack(page)
    await app.maintenance.set(true)
    await page.goto(`${address}/page`)
    await app.close()
    await page.goto(`${address}/page`)
    t.equal(await heading(), 'open', "offline: the cached page is the site's")
    t.strictSame(problems, [])
  })

  t.test('in a frame that the application allows', async t => {
    const { app } = bareApp(t)
    const partner = bareApp(t).app
    partner.get('/', async (_request, reply) => reply.type('text/html').send(`<iframe src="${address}"></iframe>`))
    app.addHook('onRequest', async (_request, reply) => {
      reply.header('content-security-policy', `frame-ancestors ${outside}`)
    })
    const { default: maintenance } = await import('../../index.ts')
    await app.register(maintenance, { pinned: 'closed' })
    const address = await app.listen({ port: 0, host: '127.0.0.1' })
    const outside = await partner.listen({ port: 0, host: '127.0.0.1' })
    const { page } = await open(t, browser)
    await page.goto(outside)
    t.equal(await page.frameLocator('iframe').locator('h1').textContent(), wordsOf({}, 'en', 'full').title)
  })
})

async function comesBack (page: Page): Promise<void> {
  await page.clock.fastForward(41_000)
  await page.getByText('open', { exact: true }).waitFor()
}

async function asksAgain (page: Page, path: string): Promise<void> {
  const asked = page.waitForResponse(answer => answer.url().endsWith(path) && answer.request().method() === 'GET')
  const home = page.waitForResponse(answer => new URL(answer.url()).pathname === '/')
  await page.clock.fastForward(41_000)
  await asked
  await home
}
