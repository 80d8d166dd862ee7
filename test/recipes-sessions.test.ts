import cookie from '@fastify/cookie'
import { Authenticator, Strategy } from '@fastify/passport'
import session from '@fastify/session'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import t from 'tap'
import maintenance from '../index.ts'
import { bareApp, counter, until } from './fixtures/app.ts'
import {
  type AnySession,
  browser,
  type Browser,
  createSite,
  everybody,
  isAnonymous,
  isSuperuser,
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

const isStaff = (request: FastifyRequest) => userOf(request)?.isStaff === true

const isAuthenticated = (request: FastifyRequest) => userOf(request) !== undefined

const sessionPlugins: Record<string, () => Step[]> = {
  '@fastify/session': () => [withCookie, withSession()],
  '@fastify/secure-session': () => [withSecureSession]
}

for (const [plugin, session] of Object.entries(sessionPlugins)) {
  t.test(`${plugin}: the four rules of django-maintenance-mode`, async t => {
    const rules: [string, UserRule, string[]][] = [
      ['staff', isStaff, ['sam', 'boss']],
      ['superusers', isSuperuser, ['root', 'boss']],
      ['anonymous', isAnonymous, ['visitor']],
      ['authenticated', isAuthenticated, ['ada', 'sam', 'root', 'boss']],
      ['staff and superusers', request => isStaff(request) || isSuperuser(request), ['sam', 'root', 'boss']]
    ]
    for (const [name, rule, expected] of rules) {
      const { app, handler, complaints } = await createSite(t, ...session(), letIn(rule))
      await app.maintenance.set(true)
      const browsers = await everybody(app)
      t.strictSame(await whoIsIn(browsers), expected, name)
      t.equal(handler.runs, expected.length, 'the handler ran for no other request')
      t.strictSame(complaints(), [])
      await app.maintenance.set(false)
      t.strictSame(await whoIsIn(browsers), ['visitor', 'ada', 'sam', 'root', 'boss'], 'open again')
    }
  })

  t.test(`${plugin}: a full walk through a closed site`, async t => {
    const { app, handler } = await createSite(t, ...session(), letIn(isStaff))
    await app.maintenance.set(true)
    const sam = browser(app)
    const visitor = browser(app)
    t.equal(await sam.status('/'), 503, 'not yet logged in')
    t.equal((await sam.ask('/login')).body, 'the login page')
    t.equal((await sam.logIn('sam')).body, 'welcome')
    const seen = await sam.ask('/')
    t.strictSame([
      seen.statusCode, seen.json(), seen.headers['cache-control']
    ], [200, { ran: true }, 'private, no-store'])
    t.equal(await sam.whoami(), 'sam')
    t.equal(await visitor.status('/'), 503)
    await visitor.logIn('ada')
    t.equal(await visitor.status('/'), 503, 'logged in, but not staff')
    const forged = { cookies: { sessionId: 'forged.forged', session: 'forged;forged' } }
    t.equal(await visitor.status('/', forged), 503)
    t.equal(handler.runs, 1)
    t.match(app.maintenance.status().counts, { blocked: 4 })
  })

  t.test(`${plugin}: the login route must be ignored, or no one can log in`, async t => {
    for (const [name, config, routes, expected] of [
      ['declared', { maintenance: 'off' }, [], 200],
      ['listed', {}, ['/signin'], 200],
      ['forgotten', {}, [], 503]
    ] as [string, { maintenance?: 'off' }, string[], number][]) {
      const { app } = await createSite(t, ...session(), withMaintenance({ ignore: { request: isStaff, routes } }))
      app.post('/signin', { config }, async request => sessionOf(request).set('user', USERS.sam))
      await app.maintenance.set(true)
      const sam = browser(app)
      await sam.ask('/signin', { method: 'POST' })
      t.equal(await sam.status('/'), expected, name)
    }
  })

  t.test(`${plugin}: maintenance registered too early blocks everyone, and logs it once`, async t => {
    for (const rule of [isStaff, isSuperuser, isAnonymous, isAuthenticated]) {
      const { app, handler, complaints } = await createSite(t, letIn(rule), ...session())
      await app.maintenance.set(true)
      const browsers = await everybody(app)
      t.strictSame(await whoIsIn(browsers), [])
      t.strictSame(await whoIsIn(browsers), [])
      t.equal(handler.runs, 0)
      t.equal(complaints().length, 1)
      t.match(complaints()[0], { level: 50, err: { message: /null \(reading 'user'\)/ } })
      t.equal(await browsers.sam?.whoami(), 'sam', 'although logging in works')
      await app.maintenance.set(true, { message: 'more' })
      await whoIsIn(browsers)
      t.equal(complaints().length, 2, 'once per state change')
    }
  })

  t.test(`${plugin}: a rule that tolerates a missing session hides the wrong order, and may let everyone through`, async t => {
    const forgiving = (request: FastifyRequest) => (request.session as unknown as AnySession | null)?.user
    const staff = await createSite(t, letIn(request => forgiving(request)?.isStaff === true), ...session())
    await staff.app.maintenance.set(true)
    t.strictSame(await whoIsIn(await everybody(staff.app)), [])
    t.strictSame(staff.complaints(), [], 'nothing is logged')

    const anonymous = await createSite(t, letIn(request => forgiving(request) === undefined), ...session())
    await anonymous.app.maintenance.set(true)
    t.strictSame(await whoIsIn(await everybody(anonymous.app)), ['visitor', 'ada', 'sam', 'root', 'boss'])
  })

  t.test(`${plugin}: a child's session is too late for its parent's gate`, async t => {
    const { app, complaints } = await createSite(t, letIn(isStaff))
    const handler = counter()
    app.register(async child => {
      for (const step of session()) await step(child)
      child.post(
        '/login',
        { config: { maintenance: 'off' } },
        async request => sessionOf(request).set('user', USERS.sam)
      )
      child.get('/', handler)
    }, { prefix: '/child' })
    await app.maintenance.set(true)
    const sam = browser(app)
    t.equal(await sam.status('/child/login', { method: 'POST' }), 200)
    t.equal(await sam.status('/child'), 503)
    t.equal(handler.runs, 0)
    t.equal(complaints().length, 1)
  })
}

t.test('@fastify/session: without @fastify/cookie before it, the server does not start', async t => {
  const { app } = bareApp(t)
  await t.rejects(async () => {
    await app.register(session, { secret: SECRET })
    await app.register(cookie)
    await app.ready()
  }, { code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED' })
})

t.test('@fastify/session: blocked visitors create no sessions', async t => {
  const store = new MemoryStore()
  const { app } = await createSite(t, withCookie, withSession(store), letIn(isStaff))
  await app.maintenance.set(true)
  const answer = await app.inject('/')
  t.strictSame([answer.statusCode, answer.cookies, store.sessions.size], [503, [], 0])
  await app.maintenance.set(false)
  await app.inject('/')
  t.equal(store.sessions.size, 1, 'an open site creates one')
})

/** Reads the session directly, so that maintenance can be registered before the session plugin. */
function readsTheSession (app: FastifyInstance): UserRule {
  return async request => {
    const { sessionId } = request.cookies
    if (sessionId === undefined) return false
    await promisify(app.decryptSession)(sessionId, request)
    return isStaff(request)
  }
}

async function createGateFirst (t: Test, store: MemoryStore) {
  return await createSite(t, withCookie, app => app.register(maintenance, {
    ignore: { request: readsTheSession(app) }
  }), withSession(store))
}

t.test('@fastify/session: maintenance before the session, with a rule that reads the session', async t => {
  const store = new MemoryStore()
  const { app, handler, complaints } = await createGateFirst(t, store)
  await app.maintenance.set(true)
  const browsers = await everybody(app)
  const readsOf = async (work: () => Promise<unknown>) => {
    const before = store.reads
    await work()
    return store.reads - before
  }
  t.strictSame(await whoIsIn(browsers), ['sam', 'boss'])
  t.equal(handler.runs, 2)
  t.equal(await readsOf(
    async () => t.equal(await browsers.sam?.whoami(), 'sam')
  ), 1, 'an ignored route: the gate does not read')
  t.equal(await readsOf(
    async () => t.equal(await browsers.sam?.status('/'), 200)
  ), 2, 'the cost: a second read for a request that is let through')
  t.equal(await readsOf(async () => t.equal(await browsers.ada?.status('/'), 503)), 1)
  t.equal(await readsOf(
    async () => t.equal(await app.inject('/').then(({ statusCode }) => statusCode), 503)
  ), 0, 'no cookie')
  for (const sessionId of ['', 'x', 'x.y', '.', `${randomUUID()}.x`, 'x'.repeat(4000)]) {
    t.equal(await browser(app).status('/', { cookies: { sessionId } }), 503)
  }
  t.strictSame(complaints(), [])
  await app.maintenance.set(false)
  t.equal(await readsOf(async () => t.equal(await browsers.sam?.status('/'), 200)), 1, 'open: the gate does not read')
})

t.test('@fastify/session: the session store is down', async t => {
  const down = (_answer: () => void, fail: (error: Error) => void) => fail(new Error('the store is down'))

  t.test("session before maintenance: clients with a cookie get the session plugin's error", async t => {
    const store = new MemoryStore()
    const { app, handler } = await createSite(t, withCookie, withSession(store), letIn(isStaff))
    await app.maintenance.set(true)
    const browsers = await everybody(app)
    store.onGet = down
    t.strictSame(await whoIsIn(browsers), [
      'ada: 500', 'sam: 500', 'root: 500', 'boss: 500'
    ], 'the visitor without a cookie gets the 503')
    t.equal(await browsers.sam?.status('/login'), 500, 'ignored routes too')
    t.equal(handler.runs, 0)
  })

  t.test('maintenance before session: everyone gets the 503', async t => {
    const store = new MemoryStore()
    const { app, handler, complaints } = await createGateFirst(t, store)
    await app.maintenance.set(true)
    const browsers = await everybody(app)
    store.onGet = down
    t.strictSame(await whoIsIn(browsers), [])
    t.equal(handler.runs, 0)
    t.equal(complaints().length, 1)
    t.match(complaints()[0], { err: { message: 'the store is down' } })
    store.onGet = undefined
    t.strictSame(await whoIsIn(browsers), ['sam', 'boss'], 'it is back')
  })
})

t.test('@fastify/session: if the store never answers, session before maintenance, only clients with a cookie wait', async t => {
  const store = new MemoryStore()
  const { app, handler } = await createSite(t, withCookie, withSession(store), letIn(isStaff))
  await app.maintenance.set(true)
  const ada = browser(app)
  await ada.logIn('ada')
  let release: (() => void) | undefined
  store.onGet = answer => { release = answer }
  let status: number | undefined
  const waiting = ada.status('/').then(code => { status = code })
  await until('the store is asked', () => release !== undefined)
  for (let i = 0; i < 20; i++) t.equal((await app.inject('/')).statusCode, 503)
  t.equal(status, undefined, 'the gate is not reached')
  release?.()
  await waiting
  t.equal(status, 503)
  t.equal(handler.runs, 0)
})

t.test('callbacks that never settle time out after 3 s', async t => {
  const silent = new MemoryStore()
  const gateFirst = await createGateFirst(t, silent)
  const never = await createSite(t, withCookie, withSession(), letIn(() => new Promise(() => {})))
  const deaf = new MemoryStore()
  const destroying = await createSite(t, withCookie, withSession(deaf), withMaintenance({
    onBlocked: request => sessionOf(request).destroy()
  }))

  await Promise.all([
    blockedAfter3s(
      'a session store that never answers, maintenance before session',
      gateFirst,
      () => { silent.onGet = () => {} },
      /ignore\.request failed/
    ),
    blockedAfter3s('ignore.request', never, () => {}, /ignore\.request failed/),
    blockedAfter3s(
      'a session store that never destroys, in onBlocked',
      destroying,
      () => { deaf.onDestroy = () => {} },
      /onBlocked failed/
    )
  ])

  async function blockedAfter3s (
    name: string, { app, lines, handler }: Awaited<ReturnType<typeof createSite>>, breakIt: () => void, said: RegExp
  ) {
    const sam = browser(app)
    await sam.logIn('sam')
    await app.maintenance.set(true)
    breakIt()
    const start = performance.now()
    t.equal(await sam.status('/'), 503, name)
    const took = performance.now() - start
    t.ok(took > 2900, `${name}: ${took} ms`)
    const errors = lines.filter(({ level }) => level === 50)
    t.equal(errors.length, 1)
    t.match(errors[0], { msg: said, err: { message: 'no answer within 3000 ms' } })
    t.equal(handler.runs, 0)
  }
})

/** Passport over any session plugin; it stores the user's name and looks up the rest. */
function withPassport () {
  const users: Record<string, User> = { ...USERS }
  const passport = new Authenticator()
  class ByName extends Strategy {
    override authenticate (request: FastifyRequest) {
      const user = users[(request.body as { name: string }).name]
      if (user === undefined) this.fail()
      else this.success(user)
    }
  }
  passport.use('name', new ByName('name'))
  passport.registerUserSerializer<User, string>(async user => user.name)
  passport.registerUserDeserializer<string, User | null>(async name => users[name] ?? null)

  const plugin: Step = async app => {
    await app.register(passport.initialize())
    await app.register(passport.secureSession())
    app.post(
      '/passport',
      { config: { maintenance: 'off' }, preValidation: passport.authenticate('name') },
      async () => 'welcome'
    )
    app.get('/passport', { config: { maintenance: 'off' } }, async request => (request.user as User | null)?.name ??
      'nobody')
  }
  const isStaff: UserRule = async request => {
    const stored = sessionOf(request).get('passport')
    const user = stored === undefined ? false : await passport.deserializeUser(stored, request) as User | false
    return user !== false && user.isStaff
  }
  return { plugin, isStaff, users }
}

for (const [name, session] of Object.entries(sessionPlugins)) {
  t.test(`@fastify/passport over ${name}`, async t => {
    const logIn = (app: FastifyInstance, name: string) => {
      const user = browser(app)
      return user.ask('/passport', { method: 'POST', payload: { name } }).then(() => user)
    }
    const whoami = async (user: Browser) => (await user.ask('/passport')).body

    t.test("a rule that looks up the session's user, with passport registered before or after", async t => {
      for (const isFirst of [true, false]) {
        const { plugin, isStaff } = withPassport()
        const { app, handler, complaints } =
          await createSite(t, ...session(), ...isFirst ? [plugin, letIn(isStaff)] : [letIn(isStaff), plugin])
        await app.maintenance.set(true)
        t.strictSame(await whoIsIn({
          visitor: browser(app),
          ada: await logIn(app, 'ada'),
          sam: await logIn(app, 'sam'),
          stranger: await logIn(app, 'eve')
        }), ['sam'])
        t.equal(handler.runs, 1)
        t.strictSame(complaints(), [])
      }
    })

    t.test('maintenance before the session: everyone is blocked, logged once', async t => {
      const { plugin, isStaff } = withPassport()
      const { app, handler, complaints } = await createSite(t, letIn(isStaff), ...session(), plugin)
      await app.maintenance.set(true)
      const sam = await logIn(app, 'sam')
      t.strictSame(await whoIsIn({ visitor: browser(app), sam, again: sam }), [])
      t.equal(handler.runs, 0)
      t.equal(complaints().length, 1)
      t.match(complaints()[0], { err: { message: /null \(reading 'get'\)/ } })
      t.equal(await whoami(sam), 'sam', 'although logging in works')
    })

    t.test('a deleted user and a failing lookup are blocked', async t => {
      const { plugin, isStaff, users } = withPassport()
      let isDown = false
      const { app, complaints } = await createSite(t, ...session(), plugin, letIn(async request => {
        if (isDown) throw new Error('the database is down')
        return await isStaff(request)
      }))
      await app.maintenance.set(true)
      const sam = await logIn(app, 'sam')
      t.equal(await sam.status('/'), 200)
      isDown = true
      t.equal(await sam.status('/'), 503)
      t.equal(complaints().length, 1)
      isDown = false
      delete users.sam
      t.equal(await sam.status('/'), 503)
      t.equal(complaints().length, 1)
    })

    t.test('request.user and isAuthenticated() are not set yet: passport does it later', async t => {
      for (const rule of [
        request => request.isAuthenticated(), request => (request.user as unknown as User | null)?.isStaff === true
      ] as UserRule[]) {
        const { plugin } = withPassport()
        const { app, handler } = await createSite(t, ...session(), plugin, letIn(rule))
        await app.maintenance.set(true)
        const sam = await logIn(app, 'sam')
        t.equal(await sam.status('/'), 503)
        t.equal(handler.runs, 0)
        t.equal(await whoami(sam), 'sam')
      }
      const { plugin } = withPassport()
      const { app } = await createSite(t, ...session(), plugin, letIn(request => request.isUnauthenticated()))
      await app.maintenance.set(true)
      t.strictSame(await whoIsIn({
        visitor: browser(app), sam: await logIn(app, 'sam')
      }), ['visitor', 'sam'], 'a rule for anonymous users lets everyone through')
    })

    t.test('logOut() in onBlocked ends sessions in a store, but not those in a cookie', async t => {
      const { plugin, isStaff } = withPassport()
      const { app } = await createSite(t, ...session(), plugin, withMaintenance({
        ignore: { request: isStaff }, onBlocked: request => request.logOut()
      }))
      const [ada, sam] = [await logIn(app, 'ada'), await logIn(app, 'sam')]
      await app.maintenance.set(true)
      t.strictSame(await whoIsIn({ ada, sam }), ['sam'])
      t.strictSame([await whoami(ada), await whoami(sam)], [name === '@fastify/session' ? 'nobody' : 'ada', 'sam'])
    })
  })
}
