import type { FastifyReply } from 'fastify'
import t from 'tap'
import { wordsOf } from '../../lib/answer/texts.ts'
import { createApp, until } from '../fixtures/app.ts'
import { noFirefox, openFirefox } from '../fixtures/firefox.ts'

// Parts of the page and the event stream that depend on the browser. All others are in browser-page.test.ts, with
// chromium.

t.test('the page in Firefox', { skip: noFirefox }, async t => {
  const tab = await openFirefox(t)
  const { app } = await createApp(t, { response: { retryAfter: 1 } })
  const open = async (reply: FastifyReply): Promise<unknown> => reply.type('text/html').send('<h1>open</h1>')
  let answer = open
  app.get('/page', async (_request, reply) => answer(reply))
  app.get(
    '/login',
    { config: { maintenance: 'off' } },
    async (_request, reply) => reply.type('text/html').send('<h1>Login</h1>')
  )
  app.get('/news', async (_request, reply) => reply.type('text/event-stream').send('event: hello\ndata: 1\n\n'))
  app.get('/write', { config: { maintenance: 'write' } }, async () => 'done')
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const heading = async () => tab.evaluate('document.querySelector("h1")?.textContent')
  const shows = async (text: string) => until(`the page shows: ${text}`, async () => await heading() === text)

  t.test('it is styled, its script runs, and it returns to the full URL with the fragment', async t => {
    await app.maintenance.set(true, { endsAt: '+2h' })
    await tab.goto(`${address}/page?a=b#/orders/42`)
    t.equal(await heading(), wordsOf({}, 'en', 'full').title)
    t.match(await tab.evaluate('getComputedStyle(document.querySelector("main")).maxWidth'), /^\d+px$/)
    t.match(await tab.evaluate('document.getElementById("left").textContent'), /^in (2 hours|1\d\d minutes)$/)
    t.equal(await tab.evaluate('document.getElementById("status").hidden'), false)
    await app.maintenance.set(false)
    await shows('open')
    t.equal(await tab.evaluate('location.href'), `${address}/page?a=b#/orders/42`)
  })

  t.test('it returns through a redirect', async () => {
    await app.maintenance.set(true)
    await tab.goto(`${address}/page`)
    answer = async reply => reply.redirect('/login')
    await app.maintenance.set(false)
    await shows('Login')
  })

  t.test('any answer except a page or a redirect keeps it waiting', async t => {
    await app.maintenance.set(true)
    await tab.goto(`${address}/page`)
    let asked = 0
    answer = async reply => {
      asked++
      return reply.code(429).send('too many')
    }
    await app.maintenance.set(false)
    await until('it has checked twice', () => asked >= 2)
    t.equal(await heading(), wordsOf({}, 'en', 'full').title)
    answer = open
    await shows('open')
  })

  t.test('read-only: the page stays for a blocked write', async t => {
    await app.maintenance.set(true, { mode: 'read-only' })
    await tab.goto(`${address}/write`)
    t.equal(await heading(), wordsOf({}, 'en', 'read-only').title)
    t.equal(await tab.evaluate('document.getElementById("status").hidden'), true)
  })

  t.test('an event stream is notified, and continues once the site is open', async t => {
    await tab.goto(`${address}/page`)
    await app.maintenance.set(true)
    await tab.evaluate(`window.heard = []
      window.events = new EventSource('/news')
      for (const name of ['maintenance', 'hello']) events.addEventListener(name, ({ type }) => heard.push(type))`)
    await until('it has the event', async () => await tab.evaluate('heard.includes("maintenance")') === true)
    await app.maintenance.set(false)
    await until('it continues', async () => await tab.evaluate('heard.includes("hello")') === true)
    t.not(await tab.evaluate('events.readyState'), 2, 'not stopped for good')
  })
})
