import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { BrowserContextOptions, Locator, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import maintenanceAdmin from '../../lib/admin/index.ts'
import type { FastifyMaintenanceOptions } from '../../types/index.ts'
import { createApp, until, stateFile } from '../fixtures/app.ts'
import { launch, noBrowser, open, screenshots, violations, watch } from '../fixtures/browser.ts'

async function start (
  t: Test, options: FastifyMaintenanceOptions = {}, port = 0
): Promise<{ app: FastifyInstance, address: string, url: string }> {
  const { app } = await createApp(t, { bypass: {}, ...options })
  await app.register(maintenanceAdmin, {
    prefix: '/maintenance', authorize: async request => String(request.headers['x-user'] ?? 'ops')
  })
  app.get('/', async (_request, reply) => reply.type('text/html').send('<h1>The shop</h1>'))
  app.get('/checkout/pay', async (_request, reply) => reply.type('text/html').send('<h1>Paid</h1>'))
  const address = await app.listen({ port, host: '127.0.0.1' })
  return { app, address, url: `${address}/maintenance/` }
}

/** The heading of a site shows its state. */
const stateOf = (page: Page) => page.locator('h2 .look')
const shows = (page: Page, text: string) => stateOf(page).filter({ hasText: new RegExp(`^${text}$`) }).waitFor()
/** A form of the first site, unfolded: for a new window, or for the only one. */
async function formOf (page: Page, which: 'close' | 'announce' | 'window'): Promise<Locator> {
  const form = page.locator(which === 'window' ? '#windows-0 details' : `#edit-0-${which}`)
  if (await form.getAttribute('open') === null) await form.locator('summary').click()
  return form
}
const isLive = (page: Page) => page.getByText(/^Live/).waitFor()

t.test('the admin page in a real browser', { skip: noBrowser }, async t => {
  const browser = await launch(t)

  t.test('light, dark, phone, forced colours, German: legible, and nothing blocked by its policy', async t => {
    const { app, url } = await start(t, {
      site: 'shop', sites: ['shop', 'blog'], schedule: { cron: '0 1 * * sun', duration: '1h', message: 'Every week' }
    })
    await app.maintenance.set(true, {
      message: 'We are moving.\nBack soon',
      endsAt: '2999-01-01T00:00:00Z',
      by: 'Maria',
      ignoreRoutes: [{ pattern: '/checkout/*', description: 'Orders under way' }]
    })
    const looks: [string, BrowserContextOptions][] = [
      ['light', { locale: 'en-GB', timezoneId: 'Europe/London' }],
      ['dark', { colorScheme: 'dark' }],
      ['phone', { viewport: { width: 390, height: 800 } }],
      ['narrow', { viewport: { width: 320, height: 640 }, colorScheme: 'dark', locale: 'de-DE' }],
      ['forced', { forcedColors: 'active', reducedMotion: 'reduce' }]
    ]
    for (const [name, options] of looks) {
      const { page, problems } = await open(t, browser, options)
      await page.goto(url)
      await isLive(page)
      const check = async (what: string) => {
        t.ok(await page.evaluate(
          'document.documentElement.scrollWidth <= innerWidth'
        ), `${name}, ${what}: nothing overflows`)
        if (['light', 'dark'].includes(name)) t.strictSame(await violations(page), [], `${name}, ${what}: axe-core`)
        if (screenshots !== undefined) {
          await page.screenshot({ path: `${screenshots}/admin-${name}-${what}.png`, fullPage: true })
        }
      }
      for (const summary of await page.locator('summary').all()) await summary.click()
      await check('closed and open')
      await page.locator('#windows-0 [name=retryAfter]').fill('soon')
      await page.locator('#windows-0 .rows input').first().fill('no path')
      await page.locator('#windows-0 .send button').click()
      await page.getByRole('alert').waitFor()
      t.ok(await page.evaluate(
        "document.activeElement.getAttribute('role') === 'alert'"
      ), 'a screen reader announces it')
      await page.waitForResponse(answer => answer.url() === url && answer.request().method() === 'GET')
      await check('with errors')
      t.notOk(await page.locator('#once-0 .stale').isVisible(), 'no other change was made')
      t.strictSame(problems, [], name)
    }
  })

  t.test("closing and opening by keyboard; a window in the browser's time zone; the history", async t => {
    const { app, address, url } = await start(t)
    const { page, problems, context } = await open(t, browser, { timezoneId: 'America/New_York' })
    await page.goto(url)
    await isLive(page)
    await shows(page, 'Open')
    const close = await formOf(page, 'close')
    await close.getByLabel('Message to visitors').fill('Two\nlines')
    await close.getByLabel('Read', { exact: false }).first().check()
    t.equal(await page.locator('.zone').first().textContent(), 'America/New_York')
    await close.getByLabel(/^End/).fill('2998-12-31T19:00')
    await page.getByRole('button', { name: 'Close the site' }).focus()
    await page.keyboard.press('Enter')
    await shows(page, 'Read-only')
    t.match(app.maintenance.status(), {
      active: true, mode: 'read-only', message: 'Two\nlines', endsAt: '2999-01-01T00:00:00.000Z', by: 'ops'
    })
    const change = await formOf(page, 'window')
    t.equal(await change.getByLabel(/^End/).inputValue(), '2998-12-31T19:00', 'it is converted back')
    t.match(await page.locator('#windows-0 dl time').last().textContent(), /Dec 31, 2998/)
    await change.getByLabel('Nothing').check()
    await page.getByRole('button', { name: 'Save changes' }).click()
    await shows(page, 'Closed')
    t.equal(app.maintenance.status().endsAt, '2999-01-01T00:00:00.000Z', 'other fields are kept')
    const visitor = await context.newPage()
    await visitor.goto(address)
    t.equal(await visitor.locator('h1').textContent(), 'Down for maintenance')
    await page.getByRole('button', { name: 'Open the site' }).click()
    await shows(page, 'Open')
    t.ok(await page.evaluate("document.activeElement.tagName === 'H2'"), 'a screen reader announces it')
    t.equal(await close.getByLabel('Message to visitors').inputValue(), '')
    t.strictSame(
      await page.locator('aside section').last().locator('li b').allTextContents(),
      ['Opened', 'Changed', 'Closed']
    )
    await visitor.goto(address)
    t.equal(await visitor.locator('h1').textContent(), 'The shop')
    await (await formOf(page, 'announce')).getByLabel(/^Start/).fill('2999-01-01T00:00')
    await page.getByRole('button', { name: 'Announce' }).click()
    await shows(page, 'Open, closing announced')
    await page.getByRole('button', { name: 'Cancel this window' }).click()
    await shows(page, 'Open')
    t.equal(app.maintenance.status().active, false)
    t.strictSame(problems, [])
  })

  t.test('ignored routes: rows are added and removed, and the routes are reachable', async t => {
    const { app, address, url } = await start(t)
    const { page, problems } = await open(t, browser)
    await page.goto(url)
    const close = await formOf(page, 'close')
    await close.getByLabel('Path 1').fill('/gone')
    await close.getByLabel('Path 1').press('Enter')
    t.equal(app.maintenance.active, false, 'the Enter key does not close the site by mistake')
    await close.getByLabel('Path 2').fill('/checkout/*')
    await close.getByRole('button', { name: 'Add a route' }).click()
    await close.getByLabel('What for 2').fill('Orders <under> way')
    await close.getByRole('button', { name: 'Remove' }).first().click()
    await close.getByRole('button', { name: 'Close the site' }).click()
    await shows(page, 'Closed')
    t.strictSame(app.maintenance.status().windows[0]!.ignoreRoutes, [
      { pattern: '/checkout/*', description: 'Orders <under> way' }
    ])
    const change = await formOf(page, 'window')
    t.equal(await change.getByLabel('Path 1').inputValue(), '/checkout/*')
    const visitor = (await open(t, browser)).page
    await visitor.goto(`${address}/checkout/pay`)
    t.equal(await visitor.locator('h1').textContent(), 'Paid')
    await visitor.goto(`${address}/`)
    t.equal(await visitor.locator('h1').textContent(), 'Down for maintenance')
    await change.getByRole('button', { name: 'Remove' }).first().click()
    await change.getByRole('button', { name: 'Remove' }).first().click()
    await change.getByRole('button', { name: 'Save changes' }).click()
    await until('no route is left', () => app.maintenance.status().windows[0]!.ignoreRoutes.length === 0)
    t.strictSame(problems, [])
  })

  t.test('a bypass link: shown once, opened in another browser', async t => {
    const { address, url } = await start(t)
    const { page, problems, context } = await open(t, browser)
    await context.grantPermissions(['clipboard-read', 'clipboard-write'])
    await page.goto(url)
    await (await formOf(page, 'close')).getByLabel('Link for testers').selectOption('true')
    await page.getByRole('button', { name: 'Close the site' }).click()
    const field = page.locator('.link input')
    const link = await field.inputValue()
    t.match(link, new RegExp(`^${address}/maintenance/bypass#[\\w-]{32}$`))
    await page.getByRole('button', { name: 'Copy' }).click()
    await page.getByText('Copied').waitFor()
    t.equal(await page.evaluate('navigator.clipboard.readText()'), link)
    const tester = await open(t, browser)
    await tester.page.goto(link)
    await tester.page.getByText('The shop').waitFor()
    const other = await open(t, browser)
    await other.page.goto(address)
    t.equal(await other.page.locator('h1').textContent(), 'Down for maintenance')
    await page.reload()
    await isLive(page)
    t.equal(await field.count(), 0, 'not shown again')
    t.strictSame([...problems, ...tester.problems], [])
  })

  t.test('live: a change by the command, a server, a lost connection', async t => {
    const file = stateFile(t)
    const { app, url } = await start(t, { store: { file } })
    const { page, problems } = await open(t, browser)
    await page.goto(url)
    await isLive(page)
    const { main } = await import('../../lib/cli/main.ts')
    const io = { out () {}, err () {} }
    const started = performance.now()
    await main(['on', '--store', `file:${file}`, '--message', 'from the command line', '--by', 'cron'], {}, io)
    await shows(page, 'Closed')
    t.comment(`shown ${Math.round(performance.now() - started)} ms after the command was typed`)
    const change = await formOf(page, 'window')
    const id = await change.getByLabel('Message to visitors').getAttribute('id')
    const message = page.locator(`#${id}`)
    t.equal(await message.inputValue(), 'from the command line', 'also in a form without input')

    await message.fill('typing')
    await main(['off', '--store', `file:${file}`], {}, io)
    await shows(page, 'Open')
    await page.getByText('Your input is kept').first().waitFor()
    t.equal(await message.inputValue(), 'typing')
    t.equal(await page.locator('aside li').filter({ hasText: `process ${process.pid}` }).count(), 1)

    await app.close()
    await page.getByText('Connection lost').waitFor()
    await main(['on', '--store', `file:${file}`], {}, io)
    await start(t, { store: { file } }, Number(new URL(url).port))
    await isLive(page)
    await shows(page, 'Closed')
    t.equal(await message.inputValue(), 'typing')
    t.strictSame(problems, [])
  })

  t.test("two users at once: the second one sees the first one's change, and loses no input", async t => {
    const { app, url } = await start(t)
    const one = await open(t, browser, { extraHTTPHeaders: { 'x-user': 'Ada' } })
    const two = await one.context.newPage()
    const problems = watch(two)
    for (const page of [one.page, two]) {
      await page.goto(url)
      await isLive(page)
    }
    await (await formOf(two, 'close')).getByLabel('Message to visitors').fill('from the second')
    await (await formOf(one.page, 'close')).getByLabel('Message to visitors').fill('from the first')
    await one.page.getByRole('button', { name: 'Close the site' }).click()
    await shows(one.page, 'Closed')
    await shows(two, 'Closed')
    await two.locator('#edit-0-close .send button').click()
    await two.getByText('Someone else made a change first').waitFor()
    t.match(await two.getByRole('alert').innerText(), /Closed[^]*from the first[^]*By\s+Ada/)
    const change = await formOf(two, 'window')
    t.equal(await change.getByLabel('Message to visitors').inputValue(), 'from the second')
    t.equal(app.maintenance.status().message, 'from the first')
    await change.getByRole('button', { name: 'Save changes' }).click()
    await until('the second one saves anyway', () => app.maintenance.status().message === 'from the second')
    await one.page.getByText('from the second').first().waitFor()
    t.strictSame([...one.problems, ...problems], [])
  })

  t.test('several sites: input at one is kept while another one changes', async t => {
    const { app, url } = await start(t, { site: 'shop', sites: ['shop', 'blog'] })
    const { page, problems } = await open(t, browser)
    await page.goto(url)
    await isLive(page)
    for (const summary of await page.locator('summary').all()) await summary.click()
    await page.locator('#message-1-close').fill('typed at the blog')
    await app.maintenance.for('blog').set(true, { by: 'Eve' })
    await page.locator('#once-1 .stale').waitFor()
    await page.locator('#site-0').getByRole('button', { name: 'Close the site' }).click()
    await page.locator('#head-0 .look').filter({ hasText: 'Closed' }).waitFor()
    t.equal(await page.locator('#message-1-close').inputValue(), 'typed at the blog')
    t.ok(await page.locator('#message-0-announce').isVisible(), 'unfolded forms stay unfolded')
    t.equal(await page.locator('#overview').innerText(), 'Closed shop\nClosed blog')
    await page.locator('#edit-1-close .send button').click()
    await page.getByText('Someone else made a change first').waitFor()
    await page.locator('#windows-1 .send button').click()
    await until('it is saved', () => app.maintenance.for('blog').status().message === 'typed at the blog')
    await page.locator('#once-1 .stale').waitFor({ state: 'hidden' })
    t.strictSame(problems, [])
  })

  t.test('the server does not answer: no input is lost', async t => {
    const { app, url } = await start(t)
    const { page, problems } = await open(t, browser)
    await page.goto(url)
    const close = await formOf(page, 'close')
    await close.getByLabel('Message to visitors').fill('typed')
    await app.close()
    await page.getByRole('button', { name: 'Close the site' }).click()
    await page.getByText('You may have to sign in again').waitFor()
    t.equal(await close.getByLabel('Message to visitors').inputValue(), 'typed')
    t.ok(await page.getByRole('button', { name: 'Close the site' }).isEnabled())
    t.strictSame(problems, [])
  })

  t.test('without script', async t => {
    const { app, address, url } = await start(t)
    const { page, problems } = await open(t, browser, { javaScriptEnabled: false, timezoneId: 'America/New_York' })
    await page.goto(`${address}/maintenance`)
    t.ok(await page.locator('noscript p').isVisible())
    let form = await formOf(page, 'close')
    await form.getByLabel('Message to visitors').fill('\nno script')
    await form.getByLabel(/^End \(UTC\)/).fill('2999-01-01T00:00')
    await form.getByLabel('Come back after').fill('soon')
    await form.getByLabel('Path 1').fill('/checkout/*')
    await form.getByLabel('Path 2').fill('/health')
    await form.getByLabel('What for 2').fill('the balancer')
    await form.getByLabel('Link for testers').selectOption('true')
    await page.getByRole('button', { name: 'Close the site' }).click()
    t.ok(await page.getByText('Please check the marked fields').isVisible())
    t.ok(await page.getByText('Enter whole seconds').isVisible())
    t.equal(await form.getByLabel('Message to visitors').inputValue(), '\nno script')
    t.equal(await form.getByLabel('What for 2').inputValue(), 'the balancer')
    t.equal(app.maintenance.active, false)
    await form.getByLabel('Come back after').fill('60')
    await page.getByRole('button', { name: 'Close the site' }).click()
    t.equal(page.url(), url, 'back at the page')
    t.equal(await stateOf(page).textContent(), 'Closed')
    t.match(app.maintenance.status(), { message: '\nno script', endsAt: '2999-01-01T00:00:00.000Z', retryAfter: 60 })
    t.match(app.maintenance.status().windows[0]!.ignoreRoutes, [
      { pattern: '/checkout/*' }, { pattern: '/health', description: 'the balancer' }
    ])
    const link = await page.locator('.link input').inputValue()
    t.match(link, /bypass#/)
    await page.reload()
    t.equal(await page.locator('.link').count(), 0)
    form = await formOf(page, 'window')
    t.equal(await form.getByLabel('Path 2').inputValue(), '/health')
    await form.getByLabel('Path 1').fill('')
    await page.getByRole('button', { name: 'Save changes' }).click()
    t.strictSame(app.maintenance.status().windows[0]!.ignoreRoutes.map(({ pattern }) => pattern), ['/health'])
    await app.maintenance.set(true, { message: 'theirs', by: 'eve' })
    form = await formOf(page, 'window')
    await form.getByLabel('Message to visitors').fill('mine')
    await page.getByRole('button', { name: 'Save changes' }).click()
    t.ok(await page.getByText('Someone else made a change first').isVisible())
    t.equal(await form.getByLabel('Message to visitors').inputValue(), 'mine')
    await page.getByRole('button', { name: 'Open the site' }).click()
    t.equal(await stateOf(page).textContent(), 'Open')
    t.equal(app.maintenance.active, false)
    t.strictSame(problems, [])
  })

  t.test('behind a proxy that rewrites Host: the form works with and without script', async t => {
    const { app } = await start(t)
    const { port } = app.server.address() as AddressInfo
    const proxy = createServer((incoming, outgoing) => {
      const passed = request({
        port,
        host: '127.0.0.1',
        method: incoming.method,
        path: incoming.url,
        headers: {
          ...incoming.headers, host: '10.0.0.7:3000'
        }
      }, answer => {
        outgoing.writeHead(answer.statusCode as number, answer.headers)
        answer.pipe(outgoing)
      })
      passed.on('error', () => outgoing.destroy())
      outgoing.on('close', () => passed.destroy())
      incoming.pipe(passed)
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    t.teardown(() => { proxy.close(); proxy.closeAllConnections() })
    for (const javaScriptEnabled of [true, false]) {
      const { page } = await open(t, browser, { javaScriptEnabled })
      await page.goto(`http://localhost:${(proxy.address() as AddressInfo).port}/maintenance/`)
      await page.getByRole('button', { name: 'Close the site' }).click()
      await shows(page, 'Closed')
      t.equal(app.maintenance.active, true)
      await page.getByRole('button', { name: 'Open the site' }).click()
      await shows(page, 'Open')
    }
  })

  t.test('other sites, and sandboxed frames, change nothing', async t => {
    const { app } = await start(t)
    const seen: (string | undefined)[] = []
    const { port } = app.server.address() as AddressInfo
    app.server.on('request', request => {
      if (request.method === 'POST') {
        seen.push(`${request.headers['sec-fetch-site']} ${request.headers.origin?.replace(/\d+$/, '')}`)
      }
    })
    const target = `http://admin.shop.localhost:${port}/maintenance/state`
    const form = (type: string) =>
      `<form method="post" action="${target}" enctype="${type}"><input name='{"action":"on","x":"' value='"}'><input name="action" value="on"><button>Go</button></form>`
    const pages: Record<string, string> = {
      '/form': form('application/x-www-form-urlencoded'),
      '/text': form('text/plain'),
      '/sandbox': `<iframe sandbox="allow-forms allow-scripts" srcdoc="${form('application/x-www-form-urlencoded')
        .replaceAll('"', '&quot;')}"></iframe>`,
      '/fetch': `<script>fetch('${target}', { method: 'POST', mode: 'no-cors', credentials: 'include', headers: { 'content-type': 'text/plain' }, body: '{"action":"on"}' }).finally(() => { document.title = 'done' })</script>`
    }
    const evil = createServer(
      (request, response) => response.setHeader('content-type', 'text/html').end(pages[request.url as string] ?? '')
    )
    evil.listen(0, '127.0.0.1')
    await once(evil, 'listening')
    t.teardown(() => evil.close())
    const { page } = await open(t, browser)
    for (const host of ['evil.localhost', 'evil.shop.localhost']) {
      for (const path of Object.keys(pages)) {
        const before = seen.length
        await page.goto(`http://${host}:${(evil.address() as AddressInfo).port}${path}`)
        if (path === '/fetch') await page.waitForFunction("document.title === 'done'")
        else await (path === '/sandbox' ? page.frameLocator('iframe') : page).getByText('Go').click()
        await until(`${host}${path} has arrived`, () => seen.length > before)
      }
    }
    t.strictSame([...new Set(seen)], [
      'cross-site http://evil.localhost:', 'cross-site null', 'same-site http://evil.shop.localhost:'
    ])
    t.match(app.maintenance.status(), { active: false, revision: 0 })
    await page.goto(`http://admin.shop.localhost:${port}/maintenance/`)
    await page.getByRole('button', { name: 'Close the site' }).click()
    await shows(page, 'Closed')
  })
})
