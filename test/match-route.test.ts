import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import FindMyWay from 'find-my-way'
import t, { type Test } from 'tap'
import maintenance from '../index.ts'
import type { RouterOptions } from '../lib/match/path.ts'
import { compileRoutes, isPattern } from '../lib/match/route.ts'
import { createRandom } from './fixtures/random.ts'

const random = createRandom(t)

const DEFAULTS: RouterOptions = { ignoreTrailingSlash: false, ignoreDuplicateSlashes: false, caseSensitive: true, useSemicolonDelimiter: false }

/** All sixteen. */
const CONFIGURATIONS = Array.from({ length: 16 }, (_, i): RouterOptions => ({
  ignoreTrailingSlash: (i & 1) !== 0, ignoreDuplicateSlashes: (i & 2) !== 0, caseSensitive: (i & 4) === 0, useSemicolonDelimiter: (i & 8) !== 0
}))
const TARGETS = 1000

/** A Fastify, and the router that it uses. */
interface Routing { readonly Fastify: typeof Fastify, readonly FindMyWay: typeof FindMyWay }

const PATTERNS = [
  '/health', '/admin/*', '/wild/pub/*', '/wild/one', '/p/42', '/opt/*', '/col::on', '/multi/1-2', '/re/7', '/Case/*', '/ünï', '/a b', '/slash/', '/tail/tail', '/k/*',
  /^\/wild\/img\/[^/]+$/, /^\/expr\/[a-z]+$/
]

/** What is wholly ignored, wholly not, or decided by the path that the router found. */
const ROUTES: Readonly<Record<string, boolean | 'look'>> = {
  '/': false,
  '/health': true,
  '/health/live': false,
  '/healthz': false,
  '/health-secret': false,
  '/secret': false,
  '/admin': false,
  '/admin/users': true,
  '/admin/users/:id': true,
  '/admin/files/*': true,
  '/admin/opt/:a?': true,
  '/administration': false,
  '/wild/*': 'look',
  '/wild/pub/known': true,
  '/wild/secret': false,
  '/p/:id': 'look',
  '/p/:id/edit': false,
  '/opt/:a?': 'look',
  '/col::on': true,
  '/multi/:a-:b': 'look',
  '/re/:n(^\\d+$)': 'look',
  '/Case/Mixed': true,
  '/case-secret': false,
  '/ünï': true,
  '/a b': true,
  '/slash/': true,
  '/:any/tail': 'look',
  '/expr/abc': true,
  '/expr/ab1': false,
  '/expr/deep/abc': false,
  '/kk/*': false
}

/** The template of a request that reached none. */
const UNKNOWN = 'unknown'

/** What one request did while everything was open: which handler ran, and what the router handed to it. */
interface Reached { readonly template: string, readonly params: Record<string, string | undefined> }
type Finding = 'right' | 'wrongly ignored' | 'wrongly refused'

const PATHS = [
  ...Object.keys(ROUTES).map(template => template.replace(/:(\w+)(?:\(.*?\))?\??/g, '7').replace('*', 'x')), '/wild/pub/a', '/wild/pub/a/b', '/wild/pub', '/wild/pub/', '/wild/pubs', '/wild/one', '/wild/one/two', '/wild/img/a.png', '/wild/img/a/b', '/wild/',
  '/p/42', '/p/43', '/p/', '/opt', '/opt/', '/opt/go', '/opt/go/on', '/multi/1-2', '/multi/1-2-3', '/re/7', '/re/x', '/tail/tail', '/robots.txt', '/nowhere', '/CASE/mixed', '/case/any', '/k/x', '/admin/', '/admin/files/a/b', '/col:on', '/col::on',
  '/%C3%BCn%C3%AF', '/a%20b', '/ünï', '/expr/abc', '/expr/xyz', '*', '/slash', '//', '/expr/abc/', '/%E2%84%AA/x', '/health', '/health'
]

const EDITS: ((target: string) => string)[] = [
  escapeOne, escapeOne, target => target.replace(/%/, '%25'), insert('/'), insert('/./'), insert('/../'), insert('/%2e%2e/'), insert('%2f'), insert('%2F..'), insert('\\'), insert('%5c'), insert('%00'), insert('%0a'), insert('\t'), insert('%20'), insert('\u0085'),
  insert(';'), insert(';x=1/'), insert('%3b'), insert('#'), insert('%23'), insert('?'), insert('%3F'), insert('%'), insert('é'), insert('%C3%A9'), insert('%c2%a0'), insert(' '), insert('\u0001'), insert('%40'), insert('%E2%84%AA'), insert(':'), insert('*'),
  target => `${target}/`, target => `${target}//`, target => `/${target}`, target => `${target}/..`, target => `${target}/../secret`, target => `${target}/%2e`, target => `${target}?/health`, target => `${target}#/health`, target => `${target};/health`, target => `/secret?${target}`, target => `/wild/secret#${target}`,
  target => target.toUpperCase(), target => target.replace(/[a-z]/, letter => letter.toUpperCase()), target => `http://h${target}`, target => `HTTPS://h:8080${target}`, target => `http://a@h${target}`, target => `http:/${target}`, target => `http://h\\${target}`, target => `http://h?${target}`, target => `ftp://h${target}`,
  target => `*${target}`, target => target.slice(1), target => target + pick(PATHS), target => `${target}/${'x'.repeat(random(120))}`, target => target.replace(/k/i, '%E2%84%AA')
]

t.test('the requests let through are those whose handler is ignored, in every configuration of the router', async t => {
  const caught = { 'raw prefix': 0, 'new URL': 0, 'no ambiguity check': 0 }
  let total = 0
  for (const [i, options] of CONFIGURATIONS.entries()) {
    const targets = Array.from({ length: TARGETS }, randomTarget)
    total += targets.length
    const open = await compareWithRouter(t, options, i % 2 === 1, targets)
    const mutants = Object.entries(makeMutants(options)) as [keyof typeof caught, (target: string, template: string) => boolean][]
    targets.forEach((target, n) => {
      const reached = open[n]
      if (reached === undefined || reached.template === UNKNOWN) return
      for (const [name, mutant] of mutants) {
        if (judge(target, reached, mutant(target, reached.template), options) !== 'right') caught[name]++
      }
    })
  }
  t.ok(total >= 16_000, `${total} targets`)
  for (const [name, count] of Object.entries(caught)) t.ok(count > 0, `the mutant '${name}' was caught ${count} times`)
})

t.test('the same with Fastify 5.0, whose router reads the absolute form in another way', { skip: process.env.MAINTENANCE_OLDEST === undefined ? 'slow: set MAINTENANCE_OLDEST' : false }, async t => {
  const oldest = await installOldest(t)
  for (const [i, options] of CONFIGURATIONS.entries()) {
    await compareWithRouter(t, options, i % 2 === 1, Array.from({ length: 1000 }, randomTarget), oldest)
  }
})

/** Which handlers ran while the site was open; while it was closed, those that are ignored must have run, and no other. */
async function compareWithRouter (t: Test, options: RouterOptions, catchAll: boolean, targets: readonly string[], routing?: Routing): Promise<(Reached | undefined)[]> {
  const { app, requests } = await createSite(options, catchAll, routing)
  const open = await requests(targets)
  await app.maintenance.set(true)
  const closed = await requests(targets)
  await app.close()

  const wrong: string[] = []
  targets.forEach((target, n) => {
    const reached = open[n]
    if (closed[n] !== undefined && closed[n]?.template !== reached?.template) wrong.push(`${target}: another handler ran`)
    if (reached === undefined) return
    const finding = judge(target, reached, closed[n] !== undefined, options)
    if (finding !== 'right') wrong.push(`${finding}: ${JSON.stringify(target)} reached ${reached.template} ${JSON.stringify(reached.params)}`)
  })
  t.strictSame(wrong.slice(0, 10), [], JSON.stringify(options))
  const [ran, passed] = [open, closed].map(list => list.filter(Boolean).length) as [number, number]
  t.ok(ran > targets.length / 4 && passed > targets.length / 20, `${ran} ran a handler, ${passed} while closed`)
  return open
}

/** The oldest Fastify that the plugin takes, with a router from before find-my-way 9.9, in a folder of its own. */
async function installOldest (t: Test): Promise<Routing> {
  const directory = mkdtempSync(join(tmpdir(), 'maintenance-fastify-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--prefix', directory, 'fastify@5.0.0', 'find-my-way@9.1.0'])
  const require = createRequire(join(directory, 'package.json'))
  return { Fastify: require('fastify'), FindMyWay: require('find-my-way') }
}

t.test('what each kind of pattern says of a template', async t => {
  // pattern, then template: 'yes', 'no' or 'look'
  const table: [string | RegExp, Record<string, string>][] = [
    ['/admin', { '/admin': 'yes', '/admin/': 'no', '/admin/x': 'no', '/Admin': 'no', '/administration': 'no', '/:x': 'look', '/:x/y': 'look', '/*': 'look', '*': 'look', '/admin/:x': 'look', '/admin/:x?': 'look', '/admin/*': 'look', '/b/:x': 'no', '/admin-:x': 'no', '/ad:x': 'look', '/admit/*': 'no' }],
    ['/admin/*', { '/admin': 'no', '/admin/': 'yes', '/admin/x': 'yes', '/admin/x/y': 'yes', '/admin/:x': 'yes', '/admin/*': 'yes', '/admin/:x?': 'look', '/admin/a/:x?': 'yes', '/administration': 'no', '/administration/:x': 'no', '/*': 'look', '*': 'look', '/:x': 'look', '/:x/y': 'look', '/b/*': 'no', '/admin:x': 'look', '/admin-:x/y': 'no' }],
    ['/*', { '/': 'yes', '/x': 'yes', '/:x': 'yes', '/*': 'yes', '/:x?': 'yes', '*': 'look' }],
    ['/', { '/': 'yes', '/x': 'no', '/:x?': 'look', '/*': 'look', '/x/*': 'no' }],
    ['/users/:id', { '/users/:id': 'yes', '/users/:name': 'no', '/users/42': 'no', '/users/:id/posts': 'no', '/users/*': 'no', '/users/::id': 'yes' }],
    ['/users/:id/*', { '/users/:id/posts': 'yes', '/users/:id/*': 'yes', '/users/:id': 'no', '/users/:name/posts': 'no', '/users/*': 'no' }],
    ['/opt/:a?', { '/opt/:a?': 'yes', '/opt': 'no', '/opt/:a': 'no' }],
    ['/a::b', { '/a::b': 'yes', '/a:b': 'look', '/a:bc': 'look', '/*': 'look' }],
    ['/a:b', { '/a::b': 'yes', '/a:b': 'yes', '/a:c': 'no', '/*': 'no' }],
    ['/a::b/*', { '/a::b/c': 'yes', '/a::b/:c': 'yes', '/a:b/c': 'look', '/a::b': 'no' }],
    [/^\/x\/[^/]+$/, { '/x/y': 'yes', '/x/y/': 'no', '/x/:y': 'look', '/b/:y': 'look', '/b': 'no', '*': 'look', '/x/a::b': 'yes', '/x/y/:z?': 'look' }]
  ]
  for (const [pattern, templates] of table) {
    const matcher = compileRoutes([pattern], DEFAULTS)
    for (const [template, verdict] of Object.entries(templates)) t.equal(matcher.template(template), verdict, `${pattern} says '${verdict}' of ${template}`)
  }
})

t.test('and of a path, where the template is wider', async t => {
  const { target } = compileRoutes(['/a', '/b/*', '/c::d', '/é', '/u/:id', /^\/x\/[a-z]+$/], DEFAULTS)
  const held = ['/a', '/a?b', '/a#b', '/%61', '/a?/../b', '/b/', '/b/c', '/b/c/', '/b/c%20d', '/b/%C3%A9', '/b/...', '/b/.c', '/c:d', '/%C3%A9', '/x/yz', '/b/c?%2F', '/b/c?//']
  for (const path of held) t.equal(target(path), true, path)
  const not = ['', 'a', '*', '*a', '/', '/A', '/a/', '//a', '/ab', '/a;x', '/b', '/b/;', '/b/c;d', '/b//c', '/b/./c', '/b/../c', '/b/..', '/b/.', '/b/%2e%2e/a', '/b/%2E', '/b/\\c', '/b/%5cc', '/b/%2Fc', '/b/%252e', '/b/%25', '/b/%', '/b/%zz', '/b/%ff', '/b/%00', '/b/%0a', '/b/\u0085', '/b/%c2%85', '/b/%20', '/b/%20c', '/b/c%20', '/b/c%20/d', '/b/%C2%A0', '/b/c%3Bd', '/b/c%40', '/b/c%2b',
    '/u/:id', '/u/7', '/x/Y', '/x/y1', 'http://h/a', 'HTTPS://u:p@h:8/a?x', 'http://h/b/c', 'http://h', 'http://h?/a', 'http:///a', 'http://', 'http:/a', 'http://h#/a', 'http://h/a#b', 'http://h\\/a', 'http://h\\a/a', 'ftp://h/a', 'a://h/a', 'xhttp://h/a']
  for (const path of not) t.equal(target(path), false, path)
})

t.test('as the options of the router have it', async t => {
  const slash = compileRoutes(['/a/', '/b', '/c/*'], { ...DEFAULTS, ignoreTrailingSlash: true })
  for (const template of ['/a', '/a/', '/b', '/b/', '/c/d/', '/c/:d?/']) t.equal(slash.template(template), template === '/c/:d?/' ? 'look' : 'yes', template)
  t.strictSame(['/a', '/a/', '/b/', '/c/d/', '/c', '/c/', '/b//', '//b', '/c//', '/c//?x', '/c/d//'].map(slash.target), [true, true, true, true, false, false, false, false, false, false, false])
  const double = compileRoutes(['/a', '/c/*'], { ...DEFAULTS, ignoreDuplicateSlashes: true })
  t.strictSame(['//a', '/c//d', '///c///d', '/a//', '/c//', 'http://h//a', '/c//..'].map(double.target), [true, true, true, false, true, false, false])
  t.equal(double.template('//a'), 'yes')
  const both = compileRoutes(['/a'], { ...DEFAULTS, ignoreDuplicateSlashes: true, ignoreTrailingSlash: true })
  t.strictSame(['/a//', '//a///'].map(both.target), [true, true])
  const folded = compileRoutes(['/Abc', '/K/*', '/i/*', /^\/Expr\/[A-Z]+$/], { ...DEFAULTS, caseSensitive: false })
  t.strictSame(['/abc', '/ABC', '/k/x', '/expr/x', '/EXPR/X', '/%E2%84%AA/x', '/%C4%B0/x', '/\u212a/x'].map(folded.target), [true, true, true, true, true, false, false, false])
  t.strictSame(['/aBC', '/expr/y', '/EXPR/y', '/expr/1'].map(folded.template), ['yes', 'yes', 'yes', 'no'])
  const semicolon = compileRoutes(['/a', '/b/*'], { ...DEFAULTS, useSemicolonDelimiter: true })
  t.strictSame(['/a;x=1', '/a;/b', '/b/c;d', '/b/c%3Bd', '/;/a'].map(semicolon.target), [true, true, true, false, false])
})

t.test('takes strings of one meaning only', async t => {
  for (const pattern of ['/', '/*', '/a', '/a/', '/a/*', '/a/b/c', '/a b', '/é', '/a:b', '/a::b', '/users/:id/*', '/.well-known/x', '/a..b', '/...', '/a.b', '/a;b', '/x/:n(^[0-9]+$)', '/😀', '/\u00a0']) t.equal(isPattern(pattern), true, pattern)
  for (const pattern of ['', ' ', 'a', 'a/*', '*', ' /a', '/a?b', '/a?', '/a#b', '//', '//a', '/a//b', '/a//', '/.', '/..', '/./a', '/../a', '/a/..', '/a/../b', '/a/.', '/a*', '/*/a', '/a/*/b', '/a/**', '/**', '/a/*/', '/a/*.js', '/%61', '/a%', '/a\\b', 'http://h/a', '/a/*?', '/a\n', '/\ta', '/a\u0000/*', '/\u007f', '/a\u0085', '/\u009f', '/\ud800', '/a\udc00b', 7, null, undefined, {}, ['/a'], /^a/]) t.equal(isPattern(pattern), false, String(pattern))
})

t.test('an expression is compiled once, as it was', async t => {
  const expression = /^\/a$/
  const { target, template } = compileRoutes([expression], DEFAULTS)
  expression.compile('^/b$')
  t.strictSame([target('/a'), target('/b'), template('/a'), template('/b')], [true, false, 'yes', 'no'])
})

t.test('on a long path the expressions may not take long together', async t => {
  const path = `/${'a'.repeat(15_000)}`
  const make = (count: number): boolean => compileRoutes(Array.from({ length: count }, (_, i) => i === 0 ? /^\/a+$/ : new RegExp(`^/x${i}/[^/]+$`)), DEFAULTS).target(path)
  t.equal(make(1), true)
  t.equal(make(1000), false, 'refused, because it cannot be told in time')
  t.equal(compileRoutes(Array.from({ length: 10_000 }, (_, i) => `/x${i}/*`).concat('/a'.repeat(2000) + '/*'), DEFAULTS).target('/a'.repeat(7000)), true, 'strings are told in any number')
})

t.test('child routes, HEAD, unknown URLs and rewritten ones', async t => {
  const app = Fastify({ rewriteUrl: ({ url = '' }) => url.replace('/old', '/secret').replace('/new', '/health') })
  t.teardown(() => app.close())
  const ran: string[] = []
  const handlerOf = (name: string) => async () => { ran.push(name) }
  await app.register(maintenance, { ignore: { routes: ['/health', '/child', '/deep/*', '/nowhere', '/nowhere/*', /^\/never/] } })
  app.get('/health', handlerOf('health'))
  app.post('/health', handlerOf('post'))
  app.get('/secret', handlerOf('secret'))
  app.register(async child => { child.get('/', handlerOf('child')); child.get('/x', handlerOf('child x')) }, { prefix: '/child' })
  app.register(async child => { child.get('/', handlerOf('deep')); child.get('/x', handlerOf('deep x')) }, { prefix: '/deep' })
  await app.maintenance.set(true)
  const status = async (url: string, method: 'GET' | 'HEAD' | 'POST' = 'GET'): Promise<number> => (await app.inject({ url, method })).statusCode

  for (const url of ['/health', '/child', '/child/', '/deep/x', '/new']) t.equal(await status(url), 200, url)
  t.strictSame(ran.splice(0), ['health', 'child', 'child', 'deep x', 'health'])
  for (const url of ['/secret', '/child/x', '/deep', '/deep/', '/old', '/old?/health', '/new/x', '/nowhere', '/nowhere/x', '/never', '/']) t.equal(await status(url), 503, url)
  t.equal(await status('/health', 'HEAD'), 200)
  t.equal(await status('/health', 'POST'), 200, 'a pattern is of all methods')
  t.equal(await status('/child/x', 'HEAD'), 503)
  t.strictSame(ran, ['health', 'post'])
  for (const url of ['/robots.txt', '/robots.txt?x', '/%72obots.txt']) t.equal(await status(url), 404, `${url}: a 503 would drop the site from search engines`)
  for (const url of ['/robots.txt/', '/robots.txt/x', '/robots.txt%2f', '/x/robots.txt', '//robots.txt']) t.equal(await status(url), 503, url)
})

t.test('patterns of the state record hold while it stands, also on routes that were seen before', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(maintenance, { ignore: { routes: '/own' } })
  for (const url of ['/own', '/a', '/b', '/c/:id']) app.get(url, async () => 'ran')
  const passing = async (): Promise<string[]> => {
    const urls = ['/own', '/a', '/b', '/c/1', '/c/2']
    const answers = await Promise.all([...urls, ...urls].map(async url => ({ url, passed: (await app.inject(url)).statusCode === 200 })))
    const passed = answers.filter(answer => answer.passed).map(answer => answer.url)
    t.strictSame(passed.slice(0, passed.length / 2), passed.slice(passed.length / 2), 'the second time as the first')
    return passed.slice(0, passed.length / 2)
  }
  await app.maintenance.set(true)
  t.strictSame(await passing(), ['/own'])
  await app.maintenance.set(true, { ignoreRoutes: ['/a', { pattern: '/c/1', description: 'the first' }] })
  t.strictSame(await passing(), ['/own', '/a', '/c/1'])
  await app.maintenance.set(true, { ignoreRoutes: ['/b', '/c/*'] })
  t.strictSame(await passing(), ['/own', '/b', '/c/1', '/c/2'])
  await app.maintenance.set(true)
  t.strictSame(await passing(), ['/own'])
  await t.rejects(app.maintenance.set(true, { ignoreRoutes: ['/a*'] }), { code: 'FST_ERR_MAINTENANCE_CHANGE' })
  await t.rejects(app.maintenance.set(true, { ignoreRoutes: ['/a\n'] }), { code: 'FST_ERR_MAINTENANCE_CHANGE', message: /'\/a\\n', expected .* or control characters/ })
  t.strictSame(await passing(), ['/own'])
})

/** The application whose handlers tell that they ran. */
async function createSite (options: RouterOptions, catchAll: boolean, routing: Routing = { Fastify, FindMyWay }) {
  // Fastify 5.0 knows these options in the first place only
  const app = routing.Fastify({ ...(routing.Fastify === Fastify ? { routerOptions: { ...options } } : options), forceCloseConnections: true })
  let arrived: boolean[] = []
  let ran: (Reached | undefined)[] = []
  app.server.on('request', request => { arrived[Number(request.headers.n)] = true })
  const handlerOf = (template: string) => (request: FastifyRequest, reply: FastifyReply) => {
    ran[Number(request.headers.n)] = { template, params: request.params as Reached['params'] }
    reply.send('')
  }
  await app.register(maintenance, { ignore: { routes: PATTERNS } })
  for (const template of Object.keys(ROUTES)) app.get(template, handlerOf(template))
  if (catchAll) app.all('*', handlerOf('*'))
  // what is let through to no route is let through too; its path is asked of a router of one route
  const router = routing.FindMyWay({ ...options })
  router.on('GET', '*', () => {})
  app.setNotFoundHandler((request, reply) => {
    ran[Number(request.headers.n)] = { template: UNKNOWN, params: router.find('GET', request.url)?.params ?? {} }
    reply.send('')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })

  /** In few connections: what the parser refuses ends one, and the next goes on behind it. */
  async function requests (targets: readonly string[]): Promise<(Reached | undefined)[]> {
    arrived = []
    ran = []
    for (let from = 0; from < targets.length;) {
      const to = Math.min(from + 400, targets.length)
      const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
      // a reset is what a request beyond the parser's grammar earns
      socket.on('error', () => {})
      socket.resume()
      const lines = targets.slice(from, to).map((target, i) => `${i % 5 === 0 ? 'HEAD' : 'GET'} ${target} HTTP/1.1\r\nHost: h\r\nN: ${from + i}\r\n${from + i === to - 1 ? 'Connection: close\r\n' : ''}\r\n`)
      socket.write(Buffer.from(lines.join(''), 'latin1'))
      await once(socket, 'close')
      while (from < to && arrived[from] === true) from++
      if (from < to) from++
    }
    return ran
  }
  return { app, requests }
}

/** The specification, in terms of what the router found: it shares no code with the matcher. */
function judge (target: string, { template, params }: Reached, said: boolean, options: RouterOptions): Finding {
  const rule = ROUTES[template] ?? 'look'
  const path = pathOf(template, params)
  const expected = rule === 'look' ? !isAmbiguous(target, path, options) && isIgnoredPath(path, template, options) : rule
  if (said === expected) return 'right'
  return said ? 'wrongly ignored' : 'wrongly refused'
}

function pathOf (template: string, params: Record<string, string | undefined>): string {
  // the router keeps the slash before a catch-all of its own
  if (template === '*' || template === UNKNOWN) return params['*'] ?? ''
  return template.replace(/\/:(\w+)\?|:(\w+)(?:\(.*?\))?|\*/g, (_, optional?: string, name = '*') => {
    if (optional === undefined) return params[name] ?? ''
    return params[optional] === undefined ? '' : `/${params[optional]}`
  })
}

/** DESIGN section 5: what a proxy or a handler might read differently. */
function isAmbiguous (target: string, path: string, { caseSensitive, ignoreDuplicateSlashes, useSemicolonDelimiter }: RouterOptions): boolean {
  const raw = target.split(useSemicolonDelimiter ? /[?#;]/ : /[?#]/)[0] as string
  const segments = path.split('/')
  return !path.startsWith('/') || segments.slice(1, -1).includes('') || segments.some(segment => segment === '.' || segment === '..' || segment.trim() !== segment) ||
    [...path].some(character => '\\%;'.includes(character) || character <= '\u001f' || (character >= '\u007f' && character <= '\u009f')) ||
    // what the router hands to the handler decoded, but does not itself take for the character
    /%(?:2[3456bcf]|3[abdf]|40)/i.test(raw) ||
    (!caseSensitive && /[\u0130\u212a]/.test(path)) || !target.startsWith('/') || (!ignoreDuplicateSlashes && raw.includes('//'))
}

function isIgnoredPath (path: string, template: string, { caseSensitive, ignoreTrailingSlash }: RouterOptions): boolean {
  const same = (a: string, b: string): boolean => caseSensitive ? a === b : a.toLowerCase() === b.toLowerCase()
  if (same(path, '/robots.txt') || template === UNKNOWN) return same(path, '/robots.txt')
  const segments = path.split('/')
  return ['/health', '/wild/one', '/p/42', '/col:on', '/multi/1-2', '/re/7', '/ünï', '/a b', ignoreTrailingSlash ? '/slash' : '/slash/', '/tail/tail'].some(exact => same(path, exact)) ||
    ['/admin/', '/wild/pub/', '/opt/', '/Case/', '/k/'].some(parent => same(path.slice(0, parent.length), parent)) ||
    (segments.length === 3 && same(segments[1] ?? '', 'expr') && (caseSensitive ? /^[a-z]+$/ : /^[a-z]+$/i).test(segments[2] ?? '')) ||
    (segments.length === 4 && same(segments[1] ?? '', 'wild') && same(segments[2] ?? '', 'img') && segments[3] !== '')
}

/** Three wrong matchers that people write. */
function makeMutants (options: RouterOptions): Record<string, (target: string, template: string) => boolean> {
  const matcher = compileRoutes(['/robots.txt', ...PATTERNS], options)
  const looking = (look: (target: string) => boolean) => (target: string, template: string): boolean => {
    const verdict = matcher.template(template)
    return verdict === 'look' ? look(target) : verdict === 'yes'
  }
  const held = (path: string): boolean => matcher.target(encodeURI(path).replace(/[?#]/g, encodeURIComponent))
  return {
    'raw prefix': target => PATTERNS.some(pattern => typeof pattern === 'string' && target.startsWith(pattern.replace(/\*$/, ''))),
    'new URL': looking(target => URL.canParse(target, 'http://h') && held(safeDecode(new URL(target, 'http://h').pathname))),
    'no ambiguity check': looking(target => PATTERNS.some(pattern => typeof pattern === 'string' && pattern.endsWith('/*') && safeDecode(target.split(/[?#]/)[0] ?? '').startsWith(pattern.slice(0, -1))) || matcher.target(target))
  }
}

function safeDecode (path: string): string {
  try {
    return decodeURI(path)
  } catch {
    return path
  }
}

function randomTarget (): string {
  let target = pick(PATHS)
  for (let edits = random(4); edits > 0; edits--) target = pick(EDITS)(target)
  // the parser skips blanks before a target
  return target.trimStart()
}

function insert (text: string): (target: string) => string {
  return target => {
    const at = random(target.length + 1)
    return target.slice(0, at) + text + target.slice(at)
  }
}

function escapeOne (target: string): string {
  const at = random(target.length)
  const code = target.charCodeAt(at).toString(16).padStart(2, '0')
  return `${target.slice(0, at)}%${random(2) === 0 ? code : code.toUpperCase()}${target.slice(at + 1)}`
}

function pick<T> (list: readonly T[]): T {
  return list[random(list.length)] as T
}
