import cookie from '@fastify/cookie'
import jwt from '@fastify/jwt'
import { Authenticator, Strategy } from '@fastify/passport'
import secureSession from '@fastify/secure-session'
import session from '@fastify/session'
import type { FastifyRequest, InjectOptions } from 'fastify'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t from 'tap'
import maintenance from '../index.ts'
import { bareApp, counter } from './fixtures/app.ts'
import {
  browser,
  type Browser,
  createSite,
  everybody,
  isAnonymous,
  isSuperuser,
  KEY,
  letIn,
  MemoryStore,
  SECRET,
  sessionOf,
  type Step,
  type Test,
  type User,
  userOf,
  type UserRule,
  USERS,
  whoIsIn,
  withCookie,
  withMaintenance,
  withSecureSession,
  withSession
} from './fixtures/visitors.ts'

const withJwt: Step = app => app.register(jwt, { secret: SECRET })
/** A missing, expired or forged token: a visitor. */
const staffByJwt: UserRule = async request => {
  const user = await request.jwtVerify<User>().catch(() => null)
  return user?.isStaff === true
}

t.test('@fastify/jwt', async t => {
  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const foreign = bareApp(t).app
  await foreign.register(jwt, { secret: 'another secret of 32 characters!!' })

  t.test('a valid token of staff is let through, in every order of registration', async t => {
    for (const steps of [[withJwt, letIn(staffByJwt)], [letIn(staffByJwt), withJwt]]) {
      const { app, handler } = await createSite(t, ...steps)
      await app.maintenance.set(true)
      const answer = await app.inject({ url: '/', ...bearer(app.jwt.sign({ ...USERS.sam })) })
      t.strictSame([answer.statusCode, answer.headers['cache-control']], [200, 'private, no-store'])
      t.equal(handler.runs, 1)
    }
  })

  t.test('any other token is blocked, without a 500 or a log line', async t => {
    const { app, handler, lines } = await createSite(t, withJwt, letIn(staffByJwt))
    await app.maintenance.set(true)
    const valid = app.jwt.sign({ ...USERS.sam })
    const [header, , signature] = valid.split('.')
    const hourAgo = Math.floor(Date.now() / 1000) - 3600
    const requests: Record<string, InjectOptions> = {
      'no header': {},
      'no token': bearer(''),
      'another scheme': { headers: { authorization: 'Basic c2FtOnNhbQ==' } },
      garbage: bearer('garbage'),
      'three parts of garbage': bearer('a.b.c'),
      'long garbage': bearer('x'.repeat(8000)),
      expired: bearer(app.jwt.sign({ ...USERS.sam, exp: hourAgo })),
      'not yet valid': bearer(app.jwt.sign({ ...USERS.sam, nbf: hourAgo + 7200 })),
      'signed by another key': bearer(foreign.jwt.sign({ ...USERS.sam })),
      'another payload': bearer([header, part({ ...USERS.sam, name: 'eve' }), signature].join('.')),
      'no signature': bearer(`${part({ alg: 'none', typ: 'JWT' })}.${part({ ...USERS.sam })}.`),
      'not staff': bearer(app.jwt.sign({ ...USERS.ada })),
      'isStaff as text': bearer(app.jwt.sign({ ...USERS.ada, isStaff: 'true' }))
    }
    for (const [name, request] of Object.entries(requests)) {
      t.equal((await app.inject({ url: '/', ...request })).statusCode, 503, name)
    }
    t.equal(handler.runs, 0)
    t.strictSame(lines.filter(({ level }) => level >= 40), [])
    t.equal((await app.inject({ url: '/', ...bearer(valid) })).statusCode, 200)
  })

  t.test('a rule without a catch also blocks, but logs the first visitor of each state', async t => {
    const { app, handler, complaints } = await createSite(t, withJwt, letIn(
      async request => (await request.jwtVerify<User>()).isStaff
    ))
    await app.maintenance.set(true)
    for (let i = 0; i < 3; i++) t.equal((await app.inject('/')).statusCode, 503)
    t.equal(handler.runs, 0)
    t.equal(complaints().length, 1)
    t.match(complaints()[0], { err: { code: 'FST_JWT_NO_AUTHORIZATION_IN_HEADER' } })
  })

  t.test('registered in a child, it is missing elsewhere: blocked, logged once', async t => {
    const { app, handler, complaints } = await createSite(t, letIn(staffByJwt))
    let token = ''
    app.register(async child => {
      await child.register(jwt, { secret: SECRET })
      token = child.jwt.sign({ ...USERS.sam })
      child.get('/child', handler)
    })
    await app.maintenance.set(true)
    t.equal((await app.inject({ url: '/', ...bearer(token) })).statusCode, 503)
    t.equal(complaints().length, 1)
    t.match(complaints()[0], { err: { message: /jwtVerify is not a function/ } })
    t.equal((await app.inject({ url: '/child', ...bearer(token) })).statusCode, 200, "it works for the child's routes")
    t.equal(handler.runs, 1)
  })

  t.test('a token in a cookie needs @fastify/cookie before maintenance', async t => {
    const withJwtCookie: Step = app =>
      app.register(jwt, { secret: SECRET, cookie: { cookieName: 'token', signed: false } })
    for (const [expected, steps] of [
      [200, [withCookie, withJwtCookie, letIn(staffByJwt)]],
      [200, [withCookie, letIn(staffByJwt), withJwtCookie]],
      [503, [letIn(staffByJwt), withCookie, withJwtCookie]]
    ] as [number, Step[]][]) {
      const { app, handler } = await createSite(t, ...steps)
      await app.maintenance.set(true)
      const cookies = { token: app.jwt.sign({ ...USERS.sam }) }
      t.equal((await app.inject({ url: '/', cookies })).statusCode, expected)
      t.equal((await app.inject('/')).statusCode, 503)
      t.equal(handler.runs, expected === 200 ? 1 : 0)
    }
  })

  t.test('logging out blocked users: their tokens are not trusted again', async t => {
    const revoked = new Set<string>()
    const { app, lines } = await createSite(t,
      app => app.register(jwt, { secret: SECRET, trusted: (_request, token) => !revoked.has(token.jti as string) }),
      withMaintenance({
        ignore: { request: staffByJwt },
        onBlocked: request => {
          const token = request.user as { jti: string } | null
          if (token !== null && request.maintenance.mode === 'full') revoked.add(token.jti)
        }
      }))
    app.get('/verified', async request => (await request.jwtVerify<User>()).name)
    const ask = (token: string) => app.inject({ url: '/verified', ...bearer(token) })
    const tokens = {
      ada: app.jwt.sign({ ...USERS.ada, jti: randomUUID() }),
      late: app.jwt.sign({ ...USERS.ada, jti: randomUUID() }),
      sam: app.jwt.sign({ ...USERS.sam, jti: randomUUID() })
    }
    t.equal((await ask(tokens.ada)).statusCode, 200)
    await app.maintenance.set(true)
    t.equal((await ask(tokens.ada)).statusCode, 503)
    t.equal((await ask(tokens.sam)).statusCode, 200)
    t.equal((await app.inject('/verified')).statusCode, 503)
    await app.maintenance.set(false)
    t.equal((await ask(tokens.ada)).statusCode, 401)
    t.equal((await ask(tokens.late)).statusCode, 200, 'a user without a request is still logged in')
    t.equal((await ask(tokens.sam)).statusCode, 200, 'so is a user who was let through')

    const withoutId = { ada: app.jwt.sign({ ...USERS.ada }), sam: app.jwt.sign({ ...USERS.sam }) }
    t.equal((await ask(withoutId.sam)).statusCode, 200)
    await app.maintenance.set(true)
    t.equal((await ask(withoutId.ada)).statusCode, 503)
    t.equal((await ask(withoutId.sam)).statusCode, 503, 'it cannot tell tokens without a jti apart')
    t.strictSame(lines.filter(({ level }) => level >= 50), [])
  })
})

t.test('logging out blocked users', async t => {
  /** Everyone except superusers, and only while the whole site is closed. */
  const isSpared = (request: FastifyRequest) =>
    isAnonymous(request) || isSuperuser(request) || request.maintenance.mode !== 'full'

  t.test('@fastify/session: destroyed in the store, and the 503 ends the cookie', async t => {
    const store = new MemoryStore()
    const calls: string[] = []
    const { app, handler, lines } = await createSite(t, withCookie, withSession(store), withMaintenance({
      ignore: { request: isSuperuser, routes: '/listed', ips: '10.0.0.1' },
      onBlocked: async (request, reply) => {
        calls.push(userOf(request)?.name ?? 'visitor')
        if (isSpared(request)) return
        await sessionOf(request).destroy()
        reply.header('set-cookie', request.server.serializeCookie('sessionId', '', { path: '/', maxAge: 0 }))
      }
    }))
    app.get('/listed', handler)
    app.get('/on', { config: { maintenance: 'on' } }, handler)
    const browsers = await everybody(app) as Record<'visitor' | 'ada' | 'sam' | 'root' | 'boss', Browser>
    const kept = browsers.ada.copy()
    const { ada, sam, root, visitor } = browsers
    t.equal(store.sessions.size, 4)

    t.equal(await ada.status('/on'), 503)
    t.strictSame(
      [calls.splice(0), await ada.whoami()],
      [['ada'], 'ada'],
      'a route that is always closed logs no one out while the site is open'
    )
    await app.maintenance.set(true, { mode: 'read-only' })
    t.strictSame([await ada.status('/'), await ada.status('/', { method: 'POST' })], [200, 503])
    t.strictSame([calls.splice(0), await ada.whoami()], [['ada'], 'ada'], 'nor does a window that is read-only')

    await app.maintenance.set(true)
    t.strictSame([
      await ada.status('/listed'),
      await ada.status('/', { remoteAddress: '10.0.0.1' }),
      await ada.status('/login'),
      await ada.whoami()
    ], [200, 200, 200, 'ada'])
    t.equal(await root.status('/'), 200)
    t.strictSame(calls, [], 'not called for requests that are let through')
    t.equal(store.sessions.size, 4)

    t.equal(await root.status('/on'), 503)
    t.strictSame(
      [calls.splice(0), await root.whoami()],
      [['root'], 'root'],
      'a superuser stays logged in even if blocked'
    )

    const refusal = await ada.ask('/')
    t.equal(refusal.statusCode, 503)
    t.equal(refusal.headers['set-cookie'], 'sessionId=; Max-Age=0; Path=/')
    t.equal((await visitor.ask('/')).cookies.length, 0)
    t.equal(await sam.status('/'), 503)
    t.strictSame(calls, ['ada', 'visitor', 'sam'])
    t.equal(store.sessions.size, 2, 'the superusers')

    await app.maintenance.set(false)
    t.strictSame([
      await ada.whoami(), await sam.whoami(), await root.whoami(), await browsers.boss.whoami()
    ], ['nobody', 'nobody', 'root', 'boss'])
    t.equal(await kept.whoami(), 'nobody', 'a copy of the cookie is useless')
    t.strictSame(lines.filter(({ level }) => level >= 40), [])
  })

  t.test('@fastify/session: clearCookie() is not sent with the 503, but the session is destroyed', async t => {
    const { app } = await createSite(t, withCookie, withSession(), withMaintenance({
      onBlocked: async (request, reply) => {
        await sessionOf(request).destroy()
        reply.clearCookie('sessionId')
      }
    }))
    const ada = browser(app)
    await ada.logIn('ada')
    await app.maintenance.set(true)
    const refusal = await ada.ask('/')
    t.strictSame([refusal.statusCode, refusal.cookies], [503, []])
    t.equal(await ada.whoami(), 'nobody')
  })

  t.test('@fastify/session: exempt users must be named, in case ignore.request fails', async t => {
    for (const [expected, isSparedToo] of [
      ['root', isSuperuser], ['nobody', () => false]
    ] as [string, (request: FastifyRequest) => boolean][]) {
      const { app } = await createSite(t, withCookie, withSession(), withMaintenance({
        ignore: { request: () => { throw new Error('the database is down') } },
        onBlocked: async request => { if (!isSparedToo(request)) await sessionOf(request).destroy() }
      }))
      const root = browser(app)
      await root.logIn('root')
      await app.maintenance.set(true)
      t.equal(await root.status('/'), 503)
      t.equal(await root.whoami(), expected)
    }
  })

  t.test('@fastify/session: requests are blocked even if the store cannot destroy', async t => {
    const store = new MemoryStore()
    const { app, lines, handler } = await createSite(t, withCookie, withSession(store), withMaintenance({
      onBlocked: request => sessionOf(request).destroy()
    }))
    const ada = browser(app)
    await ada.logIn('ada')
    await app.maintenance.set(true)
    store.onDestroy = () => { throw new Error('the store is down') }
    t.equal(await ada.status('/'), 503)
    t.equal(handler.runs, 0)
    const errors = lines.filter(({ level }) => level === 50)
    t.equal(errors.length, 1)
    t.match(errors[0], { msg: 'maintenance: onBlocked failed', err: { message: 'the store is down' } })
  })

  t.test('@fastify/secure-session: delete() alone does nothing, the cookie must be cleared too', async t => {
    for (const [expected, endCookie] of [['ada', false], ['nobody', true]] as [string, boolean][]) {
      const { app } = await createSite(t, withSecureSession, withMaintenance({
        ignore: { request: isSuperuser },
        onBlocked: (request, reply) => {
          if (isSpared(request)) return
          if (endCookie) {
            reply.header(
              'set-cookie',
              request.server.serializeCookie('session', '', { path: '/', maxAge: 0 })
            )
          } else sessionOf(request).delete()
        }
      }))
      const { ada, root, visitor } = await everybody(app) as Record<'ada' | 'root' | 'visitor', Browser>
      const kept = ada.copy()
      await app.maintenance.set(true)
      t.strictSame(await whoIsIn({ ada: ada.copy(), root, visitor }), ['root'])
      t.equal((await ada.ask('/')).cookies.length, endCookie ? 1 : 0)
      t.equal((await visitor.ask('/')).cookies.length, 0)
      await app.maintenance.set(false)
      t.strictSame([await ada.whoami(), await root.whoami()], [expected, 'root'])
      t.equal(await kept.whoami(), 'ada', 'a copy of the cookie still works: the server keeps nothing')
    }
  })
})

t.test('the page: every recipe, as written', async t => {
  const page = readFileSync('docs/who-may-enter.md', 'utf8')
  const recipes = new Map(page.split(/^## /m).slice(1).map(section =>
    [section.slice(0, section.indexOf('\n')), [
      ...section.matchAll(/^```js\n([^]*?)^```$/gm)
    ].map(([, code = '']) => code.replace(/^import .*\n/gm, ''))]))
  const findUser = async (name: string) => USERS[name] ?? null
  const checkPassword = async ({ name }: { name: string }) => await findUser(name)

  /** A new server with the code from the page; `handler` serves the site. */
  async function run (t: Test, heading: string, which = 0, ...more: string[]) {
    const { app, lines } = bareApp(t)
    const passport = new Authenticator()
    class PasswordStrategy extends Strategy {
      override async authenticate (request: FastifyRequest) {
        const user = await checkPassword(request.body as { name: string })
        if (user === null) this.fail()
        else this.success(user)
      }
    }
    const scope = {
      ...{
        app, maintenance, cookie, session, secureSession, jwt, passport, promisify, randomUUID, checkPassword, findUser
      },
      passwordStrategy: new PasswordStrategy('password'),
      process: { env: { SESSION_SECRET: SECRET, SESSION_KEY: KEY.toString('base64'), JWT_SECRET: SECRET } }
    }
    const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor
    for (const piece of [recipes.get(heading)?.[which], ...more]) {
      if (piece === undefined) throw new Error(`no such code: ${heading}, ${which}`)
      await new AsyncFunction(...Object.keys(scope), piece)(...Object.values(scope))
    }
    const handler = counter()
    app.get('/', handler)
    app.get('/whoami', { config: { maintenance: 'off' } }, async request => userOf(request)?.name ?? 'nobody')
    const errors = () => lines.filter(({ level }) => level >= 40)
    return { app, handler, errors }
  }
  const loginRoute = recipes.get('The login route')?.[0] ?? ''

  for (const [heading, expected, ...more] of [
    ['With @fastify/session', ['sam', 'boss'], loginRoute],
    ['When the session store is down', ['sam', 'boss'], loginRoute],
    ['With @fastify/secure-session', ['sam', 'boss'], loginRoute],
    ['With @fastify/passport', ['sam', 'boss']],
    ['Logging users out', ['root', 'boss'], loginRoute]
  ] as [string, string[], ...string[]][]) {
    t.test(heading, async t => {
      const { app, handler, errors } = await run(t, heading, 0, ...more)
      const browsers = await everybody(app)
      const kept = browsers.ada?.copy()
      await app.maintenance.set(true)
      t.equal((await browser(app).logIn('eve')).statusCode, 401)
      t.strictSame(await whoIsIn(browsers), expected)
      t.equal(handler.runs, 2)
      t.strictSame(errors(), [])
      if (heading !== 'With @fastify/passport') {
        const stillThere = heading === 'Logging users out' ? ['nobody', 'nobody', 'root'] : ['ada', 'sam', 'root']
        t.strictSame(await Promise.all(['ada', 'sam', 'root'].map(name => browsers[name]?.whoami())), stillThere)
        t.equal(await kept?.whoami(), stillThere[0], 'a copy of the cookie works no better')
      }
    })
  }

  for (const [heading, which, expected] of [
    ['With @fastify/jwt', 0, ['sam', 'boss']], ['Logging users out', 1, ['root', 'boss']]
  ] as [string, number, string[]][]) {
    t.test(`${heading}, tokens`, async t => {
      const { app, handler, errors } = await run(t, heading, which)
      app.get('/verified', { config: { maintenance: 'off' } }, async request => (await request.jwtVerify<User>()).name)
      await app.maintenance.set(true)
      const all: Record<string, Browser> = { visitor: browser(app) }
      for (const name of Object.keys(USERS)) {
        const { token } = (await app.inject({ url: '/token', method: 'POST', payload: { name } })).json()
        const { ask, ...rest } = browser(app)
        all[name] = {
          ...rest, ask: (url, options) => ask(url, { ...options, headers: { authorization: `Bearer ${token}` } })
        }
      }
      t.equal((await app.inject({ url: '/token', method: 'POST', payload: { name: 'eve' } })).statusCode, 401)
      t.strictSame(await whoIsIn(all), expected)
      t.equal(handler.runs, 2)
      t.strictSame(errors(), [])
      const verified = await Promise.all(['ada', 'root'].map(
        async name => (await all[name]?.ask('/verified'))?.statusCode
      ))
      t.strictSame(verified, which === 0 ? [200, 200] : [401, 200])
    })
  }

  t.test('the settings of Django', async t => {
    const rows = [...page.matchAll(/^\| `(IGNORE_\w+)` \| `(.*?)`/gm)].map(([, name, rule]) => `${name}: ${rule}`)
    t.equal(rows.length, 4)
    for (const [index, expected] of [
      ['sam', 'boss'], ['root', 'boss'], ['visitor'], ['ada', 'sam', 'root', 'boss']
    ].entries()) {
      const [name = '', rule = ''] = rows[index]?.split(': ') ?? []
      // eslint-disable-next-line no-new-func
      const isLetIn = new Function('request', `return ${rule}`) as UserRule
      const { app } = await createSite(t, withCookie, withSession(), letIn(isLetIn))
      await app.maintenance.set(true)
      t.strictSame(await whoIsIn(await everybody(app)), expected, name)
    }
  })

  t.test('LOGOUT_*', async t => {
    const reason = (name: string) => new RegExp(`^\\| \`${name}.*\`(.*?)\` *\\|$`, 'm').exec(
      page
    )?.[1]?.replaceAll('\\|', '|') ?? t.fail(name) as never
    const always = reason('LOGOUT_AUTHENTICATED_USER')
    for (const [code, expected] of [
      [always, ['nobody', 'nobody', 'nobody']],
      [`${always}; if (${reason('LOGOUT_STAFF_USER')}) return`, ['nobody', 'sam', 'nobody']],
      [`${always}; if (${reason('LOGOUT_SUPERUSER')}) return`, ['nobody', 'nobody', 'root']]
    ] as [string, string[]][]) {
      // eslint-disable-next-line no-new-func
      const onBlocked = new Function(
        'request',
        `${code}\nreturn request.session.destroy()`
      ) as (request: FastifyRequest) => Promise<void>
      const { app, lines } = await createSite(t, withCookie, withSession(), withMaintenance({ onBlocked }))
      const browsers = await everybody(app)
      await app.maintenance.set(true)
      t.strictSame(await whoIsIn(browsers), [])
      t.strictSame(await Promise.all(['ada', 'sam', 'root'].map(name => browsers[name]?.whoami())), expected, code)
      t.strictSame(lines.filter(({ level }) => level >= 40), [])
    }
  })
})
