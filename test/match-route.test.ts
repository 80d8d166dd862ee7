import Fastify from 'fastify'
import FindMyWay from 'find-my-way'
import t from 'tap'
import maintenance from '../index.ts'
import type { RouterOptions } from '../lib/match/path.ts'
import { compileRoutes, isPattern, type RouteMatcher } from '../lib/match/route.ts'
import { createRandom } from './fixtures/random.ts'
import {
  compareWithServer, CONFIGURATIONS, createTargets, describe, judge, PATTERNS, ROUTES, type Reached
} from './fixtures/routing.ts'

const random = createRandom(t)

const DEFAULTS: RouterOptions = {
  ignoreTrailingSlash: false, ignoreDuplicateSlashes: false, caseSensitive: true, useSemicolonDelimiter: false
}

t.test('ignores exactly the targets of ignored routes, in every router configuration', async t => {
  const caught = { 'raw prefix': 0, 'new URL': 0, 'no ambiguity check': 0 }
  for (const [i, options] of CONFIGURATIONS.entries()) {
    const find = createFinder(options, i % 2 === 1)
    const matcher = compileRoutes(['/robots.txt', ...PATTERNS], options)
    const mutants = Object.entries(makeMutants(options)) as [keyof typeof caught, Mutant][]
    const isIgnored = looking(matcher, matcher.target)
    const wrong: string[] = []
    let ignored = 0
    for (const target of createTargets(random)(6500)) {
      const reached = find(target)
      if (reached === null) continue
      const said = isIgnored(target, reached.template)
      const finding = judge(target, reached, said, options)
      if (said) ignored++
      if (finding !== 'right') wrong.push(describe(finding, target, reached))
      for (const [name, mutant] of mutants) {
        if (judge(target, reached, mutant(target, reached.template), options) !== 'right') caught[name]++
      }
    }
    t.strictSame(wrong.slice(0, 10), [], JSON.stringify(options))
    t.ok(ignored > 300, `${ignored} were ignored`)
  }
  for (const [name, count] of Object.entries(caught)) {
    t.ok(count > 0, `the mutant '${name}' was detected ${count} times`)
  }
})

t.test('a closed server runs the handlers of those requests only', { timeout: 110_000 }, async t => {
  for (const [i, options] of CONFIGURATIONS.entries()) {
    await compareWithServer(t, options, i % 2 === 1, createTargets(random)(400))
  }
})

/** The route that a target reaches, from the router alone, without a server. */
function createFinder (options: RouterOptions, catchAll: boolean): (target: string) => Reached | null {
  const router = FindMyWay({ ...options })
  for (const template of [...Object.keys(ROUTES), ...(catchAll ? ['*'] : [])]) {
    router.on('GET', template, () => {}, template)
  }
  return target => {
    const found = router.find('GET', target)
    return typeof found?.store === 'string' ? { template: found.store, params: found.params } : null
  }
}

t.test('the verdict of each kind of pattern about a template', async t => {
  // pattern, then template: 'yes', 'no' or 'look'
  const table: [string | RegExp, Record<string, string>][] = [
    ['/admin', {
      '/admin': 'yes',
      '/admin/': 'no',
      '/admin/x': 'no',
      '/Admin': 'no',
      '/administration': 'no',
      '/:x': 'look',
      '/:x/y': 'look',
      '/*': 'look',
      '*': 'look',
      '/admin/:x': 'look',
      '/admin/:x?': 'look',
      '/admin/*': 'look',
      '/b/:x': 'no',
      '/admin-:x': 'no',
      '/ad:x': 'look',
      '/admit/*': 'no'
    }],
    ['/admin/*', {
      '/admin': 'no',
      '/admin/': 'yes',
      '/admin/x': 'yes',
      '/admin/x/y': 'yes',
      '/admin/:x': 'yes',
      '/admin/*': 'yes',
      '/admin/:x?': 'look',
      '/admin/a/:x?': 'yes',
      '/administration': 'no',
      '/administration/:x': 'no',
      '/*': 'look',
      '*': 'look',
      '/:x': 'look',
      '/:x/y': 'look',
      '/b/*': 'no',
      '/admin:x': 'look',
      '/admin-:x/y': 'no'
    }],
    ['/*', { '/': 'yes', '/x': 'yes', '/:x': 'yes', '/*': 'yes', '/:x?': 'yes', '*': 'look' }],
    ['/', { '/': 'yes', '/x': 'no', '/:x?': 'look', '/*': 'look', '/x/*': 'no' }],
    ['/users/:id', {
      '/users/:id': 'yes',
      '/users/:name': 'no',
      '/users/42': 'no',
      '/users/:id/posts': 'no',
      '/users/*': 'no',
      '/users/::id': 'yes'
    }],
    ['/users/:id/*', {
      '/users/:id/posts': 'yes', '/users/:id/*': 'yes', '/users/:id': 'no', '/users/:name/posts': 'no', '/users/*': 'no'
    }],
    ['/opt/:a?', { '/opt/:a?': 'yes', '/opt': 'no', '/opt/:a': 'no' }],
    ['/a::b', { '/a::b': 'yes', '/a:b': 'look', '/a:bc': 'look', '/*': 'look' }],
    ['/a:b', { '/a::b': 'yes', '/a:b': 'yes', '/a:c': 'no', '/*': 'no' }],
    ['/a::b/*', { '/a::b/c': 'yes', '/a::b/:c': 'yes', '/a:b/c': 'look', '/a::b': 'no' }],
    [/^\/x\/[^/]+$/, {
      '/x/y': 'yes',
      '/x/y/': 'no',
      '/x/:y': 'look',
      '/b/:y': 'look',
      '/b': 'no',
      '*': 'look',
      '/x/a::b': 'yes',
      '/x/y/:z?': 'look'
    }]
  ]
  for (const [pattern, templates] of table) {
    const matcher = compileRoutes([pattern], DEFAULTS)
    for (const [template, verdict] of Object.entries(templates)) {
      t.equal(matcher.template(template), verdict, `${pattern}: '${verdict}' for ${template}`)
    }
  }
})

t.test('the verdict about a path, if the template is wider', async t => {
  const { target } = compileRoutes(['/a', '/b/*', '/c::d', '/é', '/u/:id', /^\/x\/[a-z]+$/], DEFAULTS)
  const held = [
    '/a', '/a?b', '/a#b', '/%61', '/a?/../b', '/b/', '/b/c', '/b/c/', '/b/c%20d', '/b/%C3%A9', '/b/...', '/b/.c',
    '/c:d', '/%C3%A9', '/x/yz', '/b/c?%2F', '/b/c?//'
  ]
  for (const path of held) t.equal(target(path), true, path)
  const not = ['', 'a', '*', '*a', '/', '/A', '/a/', '//a', '/ab', '/a;x', '/b', '/b/;', '/b/c;d', '/b//c', '/b/./c', '/b/../c', '/b/..', '/b/.', '/b/%2e%2e/a', '/b/%2E', '/b/\\c', '/b/%5cc', '/b/%2Fc', '/b/%252e', '/b/%25', '/b/%', '/b/%zz', '/b/%ff', '/b/%00', '/b/%0a', '/b/\u0085', '/b/%c2%85', '/b/%20', '/b/%20c', '/b/c%20', '/b/c%20/d', '/b/%C2%A0', '/b/c%3Bd', '/b/c%40', '/b/c%2b',
    '/u/:id', '/u/7', '/x/Y', '/x/y1', 'http://h/a', 'HTTPS://u:p@h:8/a?x', 'http://h/b/c', 'http://h', 'http://h?/a',
    'http:///a', 'http://', 'http:/a', 'http://h#/a', 'http://h/a#b', 'http://h\\/a', 'http://h\\a/a', 'ftp://h/a',
    'a://h/a', 'xhttp://h/a']
  for (const path of not) t.equal(target(path), false, path)
})

t.test("follows the router's options", async t => {
  const slash = compileRoutes(['/a/', '/b', '/c/*'], { ...DEFAULTS, ignoreTrailingSlash: true })
  for (const template of ['/a', '/a/', '/b', '/b/', '/c/d/', '/c/:d?/']) {
    t.equal(slash.template(template), template === '/c/:d?/' ? 'look' : 'yes', template)
  }
  t.strictSame([
    '/a', '/a/', '/b/', '/c/d/', '/c', '/c/', '/b//', '//b', '/c//', '/c//?x', '/c/d//'
  ].map(slash.target), [true, true, true, true, false, false, false, false, false, false, false])
  const double = compileRoutes(['/a', '/c/*'], { ...DEFAULTS, ignoreDuplicateSlashes: true })
  t.strictSame(['//a', '/c//d', '///c///d', '/a//', '/c//', 'http://h//a', '/c//..'].map(double.target), [
    true, true, true, false, true, false, false
  ])
  t.equal(double.template('//a'), 'yes')
  const both = compileRoutes(['/a'], { ...DEFAULTS, ignoreDuplicateSlashes: true, ignoreTrailingSlash: true })
  t.strictSame(['/a//', '//a///'].map(both.target), [true, true])
  const folded = compileRoutes(['/Abc', '/K/*', '/i/*', /^\/Expr\/[A-Z]+$/], { ...DEFAULTS, caseSensitive: false })
  t.strictSame([
    '/abc', '/ABC', '/k/x', '/expr/x', '/EXPR/X', '/%E2%84%AA/x', '/%C4%B0/x', '/\u212a/x'
  ].map(folded.target), [true, true, true, true, true, false, false, false])
  t.strictSame(['/aBC', '/expr/y', '/EXPR/y', '/expr/1'].map(folded.template), ['yes', 'yes', 'yes', 'no'])
  const semicolon = compileRoutes(['/a', '/b/*'], { ...DEFAULTS, useSemicolonDelimiter: true })
  t.strictSame([
    '/a;x=1', '/a;/b', '/b/c;d', '/b/c%3Bd', '/;/a'
  ].map(semicolon.target), [true, true, true, false, false])
})

t.test('accepts only unambiguous strings', async t => {
  for (const pattern of [
    '/', '/*', '/a', '/a/', '/a/*', '/a/b/c', '/a b', '/é', '/a:b', '/a::b', '/users/:id/*', '/.well-known/x', '/a..b',
    '/...', '/a.b', '/a;b', '/x/:n(^[0-9]+$)', '/😀', '/\u00a0'
  ]) t.equal(isPattern(pattern), true, pattern)
  for (const pattern of [
    '', ' ', 'a', 'a/*', '*', ' /a', '/a?b', '/a?', '/a#b', '//', '//a', '/a//b', '/a//', '/.', '/..', '/./a', '/../a',
    '/a/..', '/a/../b', '/a/.', '/a*', '/*/a', '/a/*/b', '/a/**', '/**', '/a/*/', '/a/*.js', '/%61', '/a%', '/a\\b',
    'http://h/a', '/a/*?', '/a\n', '/\ta', '/a\u0000/*', '/\u007f', '/a\u0085', '/\u009f', '/\ud800', '/a\udc00b', 7,
    null, undefined, {}, ['/a'], /^a/
  ]) t.equal(isPattern(pattern), false, String(pattern))
})

t.test('an expression is compiled once, unchanged', async t => {
  const expression = /^\/a$/
  const { target, template } = compileRoutes([expression], DEFAULTS)
  expression.compile('^/b$')
  t.strictSame([target('/a'), target('/b'), template('/a'), template('/b')], [true, false, 'yes', 'no'])
})

t.test('all expressions together are bounded on a long path', async t => {
  const path = `/${'a'.repeat(15_000)}`
  const make = (count: number): boolean => compileRoutes(
    Array.from({ length: count }, (_, i) => i === 0 ? /^\/a+$/ : new RegExp(`^/x${i}/[^/]+$`)),
    DEFAULTS
  ).target(path)
  t.equal(make(1), true)
  t.equal(make(1000), false, 'not ignored, because it would take too long')
  t.equal(compileRoutes(Array.from({ length: 10_000 }, (_, i) => `/x${i}/*`).concat('/a'.repeat(2000) +
    '/*'), DEFAULTS).target('/a'.repeat(7000)), true, 'the number of strings is not limited')
})

t.test('child routes, HEAD, unknown URLs and rewritten ones', async t => {
  const app = Fastify({ rewriteUrl: ({ url = '' }) => url.replace('/old', '/secret').replace('/new', '/health') })
  t.teardown(() => app.close())
  const ran: string[] = []
  const handlerOf = (name: string) => async () => { ran.push(name) }
  await app.register(maintenance, {
    ignore: { routes: ['/health', '/child', '/deep/*', '/nowhere', '/nowhere/*', /^\/never/] }
  })
  app.get('/health', handlerOf('health'))
  app.post('/health', handlerOf('post'))
  app.get('/secret', handlerOf('secret'))
  app.register(async child => {
    child.get('/', handlerOf('child')); child.get('/x', handlerOf('child x'))
  }, { prefix: '/child' })
  app.register(async child => {
    child.get('/', handlerOf('deep')); child.get('/x', handlerOf('deep x'))
  }, { prefix: '/deep' })
  await app.maintenance.set(true)
  const status = async (
    url: string, method: 'GET' | 'HEAD' | 'POST' = 'GET'
  ): Promise<number> => (await app.inject({ url, method })).statusCode

  for (const url of ['/health', '/child', '/child/', '/deep/x', '/new']) t.equal(await status(url), 200, url)
  t.strictSame(ran.splice(0), ['health', 'child', 'child', 'deep x', 'health'])
  for (const url of [
    '/secret', '/child/x', '/deep', '/deep/', '/old', '/old?/health', '/new/x', '/nowhere', '/nowhere/x', '/never', '/'
  ]) t.equal(await status(url), 503, url)
  t.equal(await status('/health', 'HEAD'), 200)
  t.equal(await status('/health', 'POST'), 200, 'a pattern covers all methods')
  t.equal(await status('/child/x', 'HEAD'), 503)
  t.strictSame(ran, ['health', 'post'])
  for (const url of ['/robots.txt', '/robots.txt?x', '/%72obots.txt']) {
    t.equal(await status(url), 404, `${url}: a 503 would drop the site from search engines`)
  }
  for (const url of ['/robots.txt/', '/robots.txt/x', '/robots.txt%2f', '/x/robots.txt', '//robots.txt']) {
    t.equal(await status(url), 503, url)
  }
})

t.test('patterns of a state record apply only while it is current, also to known routes', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(maintenance, { ignore: { routes: '/own' } })
  for (const url of ['/own', '/a', '/b', '/c/:id']) app.get(url, async () => 'ran')
  const passing = async (): Promise<string[]> => {
    const urls = ['/own', '/a', '/b', '/c/1', '/c/2']
    const answers = await Promise.all([...urls, ...urls].map(
      async url => ({ url, passed: (await app.inject(url)).statusCode === 200 })
    ))
    const passed = answers.filter(answer => answer.passed).map(answer => answer.url)
    t.strictSame(
      passed.slice(0, passed.length / 2),
      passed.slice(passed.length / 2),
      'the same answers the second time'
    )
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
  await t.rejects(app.maintenance.set(true, { ignoreRoutes: ['/a\n'] }), {
    code: 'FST_ERR_MAINTENANCE_CHANGE', message: /'\/a\\n', expected .* or control characters/
  })
  t.strictSame(await passing(), ['/own'])
})

type Mutant = (target: string, template: string) => boolean

/** Three common, wrong matchers. */
function makeMutants (options: RouterOptions): Record<string, Mutant> {
  const matcher = compileRoutes(['/robots.txt', ...PATTERNS], options)
  const strings = PATTERNS.filter(pattern => typeof pattern === 'string')
  const parents = strings.filter(pattern => pattern.endsWith('/*')).map(pattern => pattern.slice(0, -1))
  const isIgnored = (path: string): boolean => matcher.target(encodeURI(path).replace(/[?#]/g, encodeURIComponent))
  return {
    'raw prefix': target => strings.some(pattern => target.startsWith(pattern.replace(/\*$/, ''))),
    'new URL': looking(matcher, target =>
      URL.canParse(target, 'http://h') && isIgnored(safeDecode(new URL(target, 'http://h').pathname))),
    'no ambiguity check': looking(matcher, target =>
      parents.some(parent => safeDecode(target.split(/[?#]/)[0] ?? '').startsWith(parent)) || matcher.target(target))
  }
}

/** Decides by the template, and by `look` if that is not enough. */
function looking (matcher: RouteMatcher, look: (target: string) => boolean): Mutant {
  return (target, template) => {
    const verdict = matcher.template(template)
    return verdict === 'look' ? look(target) : verdict === 'yes'
  }
}

function safeDecode (path: string): string {
  try {
    return decodeURI(path)
  } catch {
    return path
  }
}
