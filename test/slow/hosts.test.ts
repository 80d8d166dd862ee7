import { appendFileSync, chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkSite, createPlace, createProject, install, ROOT, runIn } from '../fixtures/hosts.ts'
import { startRedis } from '../fixtures/redis.ts'

// Where the package runs: the packed tarball, in empty projects. docs/compatibility.md is based on these tests. Needs
// `npm run build` and the registry; a host that is unavailable is skipped by name.

const FIXTURES = 'test/fixtures/hosts'
const SITE = [`${FIXTURES}/site.cjs`]
const TSX = join(ROOT, 'node_modules/tsx/dist/cli.mjs')
const NODE = `node-${process.platform}-${process.arch}`
const { place, tarball } = createPlace(t)

t.setTimeout(0)
t.jobs = 2
/** In parallel, with buffered output. */
const beside = (name: string) => ({
  buffered: true, timeout: 1_200_000, skip: isChosen(name) ? false : 'not named in MAINTENANCE_HOSTS'
})
/** MAINTENANCE_HOSTS=jest,pnpm runs only these. */
const isChosen = (name: string): boolean => process.env.MAINTENANCE_HOSTS?.split(',').includes(name) ?? true

interface Host {
  readonly packages: string[]
  readonly files?: string[]
  readonly type?: 'commonjs'
  /** The tests, which get the folder of the project. */
  readonly tests: Record<string, (t: Tap, dir: string) => Promise<void>>
}
type Tap = Parameters<typeof createPlace>[0]

/** Runs a script, which prints "ok". */
const script = (...args: string[]) => async (t: Tap, dir: string): Promise<void> => {
  t.equal(await runIn(dir, process.execPath, args), 'ok\n')
}

const bundled = (bundler: string) => async (t: Tap, dir: string): Promise<void> => {
  await script('bundle.mjs', bundler)(t, dir)
  const away = createProject(place, `bundle of ${bundler.replace('/', ' ')}`, [], { type: 'commonjs' })
  cpSync(join(dir, 'bundle'), away, { recursive: true })
  await checkSite(t, away)
}

/** The site on another runtime than this Node. */
const runBy = (find: (dir: string) => [string, ...string[]]) => async (t: Tap, dir: string): Promise<void> => {
  const [program, ...args] = find(dir)
  await checkSite(t, dir, program, args)
}
const otherNode = (version: number) => runBy(dir => [join(dir, `node_modules/node${version}/bin/node`)])

const onRedis = (...args: string[]) => async (t: Tap, dir: string): Promise<void> => {
  const { port } = await startRedis(t)
  await runIn(dir, process.execPath, args, { REDIS: `redis://127.0.0.1:${port}`, CI: 'true' })
}

const fastify6 = {
  packages: [
    'fastify@6.0.0-alpha.4', `node24@npm:${NODE}@24`
  ],
  files: SITE,
  tests: { 'Fastify 6.0.0-alpha.4, on Node 24': otherNode(24) }
}

const nest = (version: number): Host => ({
  packages: [...[
    'core', 'common', 'platform-fastify', 'websockets', 'platform-socket.io'
  ].map(name => `@nestjs/${name}@${version}`), 'reflect-metadata', 'rxjs', 'socket.io', 'socket.io-client'],
  files: [`${FIXTURES}/kit.mjs`, `${FIXTURES}/nest.mjs`, 'examples/nestjs/gateway.ts'],
  tests: {
    async [`NestJS ${version}: the plugin on the adapter, middleware and a gateway`] (t, dir) {
      writeFileSync(join(dir, 'tsconfig.json'), '{ "compilerOptions": { "experimentalDecorators": true } }')
      await script(TSX, 'nest.mjs')(t, dir)
    }
  }
})

const HOSTS: Record<string, Host> = {
  lambda: {
    packages: [
      'fastify@5', '@fastify/aws-lambda', 'serverless-http', '@vendia/serverless-express', '@h4ad/serverless-adapter'
    ],
    files: [`${FIXTURES}/serverless.cjs`],
    tests: Object.fromEntries([
      '@fastify/aws-lambda',
      'serverless-http',
      'serverless-http, given the app',
      '@vendia/serverless-express',
      '@h4ad/serverless-adapter'
    ]
      .map(name => [`Lambda by ${name}`, script('serverless.cjs', name)]))
  },
  middleware: {
    packages: [
      'fastify@5', '@fastify/middie', '@fastify/express', 'morgan@1.10.0', 'compression@1.7.4', 'cookie-session@2.0.0',
      'express-session@1.17.3'
    ],
    files: [`${FIXTURES}/middleware.cjs`],
    tests: Object.fromEntries(['@fastify/middie', '@fastify/express'].map(
      name => [`${name}, with middleware on on-headers before 1.1.0`, script('middleware.cjs', name)]
    ))
  },
  websockets: {
    packages: ['fastify@5', 'socket.io', 'socket.io-client', 'ws'],
    files: [
      `${FIXTURES}/kit.mjs`,
      `${FIXTURES}/websockets.mjs`,
      'examples/websockets/socket-io.js',
      'examples/websockets/ws.js'
    ],
    tests: Object.fromEntries(['Socket.IO', 'ws'].map(
      name => [`${name}, by its recipe: new, old and returning sockets`, script('websockets.mjs', name)]
    ))
  },
  'nest 11': nest(11),
  'nest 12': nest(12),
  bundlers: {
    packages: [
      'fastify@5', 'esbuild', 'rollup', '@rollup/plugin-node-resolve', '@rollup/plugin-commonjs',
      '@rollup/plugin-json', '@vercel/ncc', 'webpack'
    ],
    files: [...SITE, `${FIXTURES}/bundle.mjs`],
    tests: Object.fromEntries(['esbuild', 'rollup', '@vercel/ncc', 'webpack'].map(
      name => [`a bundle of ${name}, without ioredis`, bundled(name)]
    ))
  },
  jest: {
    packages: ['fastify@5', 'ioredis@6', 'jest@30'],
    files: [`${FIXTURES}/redis.test.cjs`],
    type: 'commonjs',
    tests: { 'Jest 30, with a Redis URL': onRedis('node_modules/jest/bin/jest.js', '--testMatch', '**/*.test.cjs') }
  },
  vitest: {
    packages: ['fastify@5', 'ioredis@6', 'vitest'],
    files: [`${FIXTURES}/redis.test.mjs`],
    tests: { 'Vitest, with a Redis URL': onRedis('node_modules/vitest/vitest.mjs', 'run') }
  },
  'node 20': {
    packages: ['fastify@5', `node20@npm:${NODE}@20`],
    files: SITE,
    tests: {
      'Node 20': otherNode(20),
      async 'node --permission, with the store in memory' (t, dir) {
        const flag =
          process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission'
        await script(flag, '--no-warnings', `--allow-fs-read=${dir}/`, 'site.cjs')(t, dir)
      }
    }
  },
  ...Object.fromEntries([22, 24, 26].map(version => [`node ${version}`, {
    packages: [
      'fastify@5', `node${version}@npm:${NODE}@${version}`
    ],
    files: SITE,
    tests: { [`Node ${version}`]: otherNode(version) }
  }])),
  bun: {
    packages: ['fastify@5', 'bun'], files: SITE, tests: { Bun: runBy(dir => [join(dir, 'node_modules/.bin/bun')]) }
  },
  deno: {
    packages: ['fastify@5', 'deno'],
    files: SITE,
    tests: {
      Deno: runBy(
        dir => [join(dir, 'node_modules/.bin/deno'), 'run', '-A']
      )
    }
  },
  'fastify 5.0.0': {
    packages: ['fastify@5.0.0'], files: SITE, tests: { 'Fastify 5.0.0': runBy(() => [process.execPath]) }
  },
  'fastify 5': {
    packages: ['fastify@5'], files: SITE, tests: { 'the newest Fastify 5': runBy(() => [process.execPath]) }
  },
  'fastify 6': fastify6,
  ...Object.fromEntries([
    ['ioredis@5.3.0'], ['ioredis@6'], ['iovalkey'], ['@fastify/redis@7'], ['@fastify/redis@8'], ['@fastify/redis@9']
  ]
    .map(beside => [`beside ${beside[0]?.replace('/', ' ')}`, {
      packages: ['fastify@5', ...beside], files: SITE, tests: { [`installed beside ${beside[0]}`]: script('site.cjs') }
    }]))
}

const NAMES = [...Object.keys(HOSTS), 'pnpm', 'yarn', 'read-only']
for (const name of process.env.MAINTENANCE_HOSTS?.split(',') ?? []) {
  if (!NAMES.includes(name)) throw new Error(`MAINTENANCE_HOSTS names '${name}', expected one of ${NAMES.join(', ')}`)
}

for (const [name, { packages, files = [], type, tests }] of Object.entries(HOSTS)) {
  t.test(name, beside(name), async t => {
    const dir = createProject(place, name, files, type === undefined ? {} : { type })
    // the project's packages come first, and the plugin is added to them
    const missing = await install(dir, packages) ?? await install(dir, [tarball])
    for (const [title, test] of Object.entries(tests)) {
      await t.test(title, missing === null ? {} : { skip: `unavailable here: ${missing}` }, t => test(t, dir))
    }
  })
}

t.test('pnpm, strict: node-linker isolated', beside('pnpm'), async t => {
  const dir = createProject(place, 'pnpm', SITE, {
    dependencies: { fastify: '5', 'fastify-maintenance': `file:${tarball}` }
  })
  const tools = createProject(place, 'pnpm tools', [])
  const missing = await install(tools, ['pnpm@10'])
  if (missing !== null) return t.pass('skipped', { skip: `unavailable here: ${missing}` })
  appendFileSync(join(dir, '.npmrc'), 'node-linker=isolated\nhoist=false\n')
  await runIn(dir, process.execPath, [
    join(tools, 'node_modules/pnpm/bin/pnpm.cjs'), 'install', '--store-dir', join(tools, 'store')
  ], { CI: 'true' })
  await checkSite(t, dir)
})

t.test("Yarn 4, Plug'n'Play", beside('yarn'), async t => {
  const dir = createProject(place, 'yarn', SITE, {
    dependencies: { fastify: '5', 'fastify-maintenance': `file:${tarball}` }
  })
  const tools = createProject(place, 'yarn tools', [])
  const missing = await install(tools, ['@yarnpkg/cli-dist@4'])
  if (missing !== null) return t.pass('skipped', { skip: `unavailable here: ${missing}` })
  const yarn = join(tools, 'node_modules/@yarnpkg/cli-dist/bin/yarn.js')
  const env = {
    YARN_ENABLE_TELEMETRY: '0', YARN_GLOBAL_FOLDER: join(tools, 'global'), YARN_ENABLE_IMMUTABLE_INSTALLS: 'false'
  }
  writeFileSync(join(dir, 'yarn.lock'), '')
  await runIn(dir, process.execPath, [yarn, 'install'], env)
  for (const STATE of [undefined, join(dir, 'maintenance.json')]) {
    t.equal(await runIn(dir, process.execPath, [yarn, 'node', 'site.cjs'], { ...env, STATE }), 'ok\n')
  }
})

t.test('npm ci --omit=dev, as a user without rights, on a read-only disk', beside('read-only'), async t => {
  const dir = createProject(place, 'read-only', SITE, { devDependencies: { ms: '2' } })
  const missing = await install(dir, ['fastify@5', tarball])
  if (missing !== null) return t.pass('skipped', { skip: `unavailable here: ${missing}` })
  await runIn(dir, 'npm', ['ci', '--omit=dev', '--no-audit', '--no-fund', '--prefer-offline'])
  if (process.getuid?.() !== 0) {
    return t.pass('skipped', { skip: 'unavailable here: root, who can become nobody and mount a disk' })
  }
  const state = join(place, 'writable')
  mkdirSync(state)
  chmodSync(state, 0o777)
  chmodSync(place, 0o755)
  // everything except the folder of the state file is read-only
  const mounts =
    `mount --bind ${q(dir)} ${q(dir)} && mount -o remount,bind,ro ${q(dir)} && cd ${q(dir)} && ! touch file 2>/dev/null`
  const nobody = `setpriv --reuid=65534 --regid=65534 --clear-groups ${q(process.execPath)} site.cjs`
  for (const prefix of ['', `STATE=${q(join(state, 'maintenance.json'))} `]) {
    t.equal(await runIn(place, 'unshare', ['--mount', 'sh', '-c', `${mounts} && ${prefix}${nobody}`]), 'ok\n')
  }
})

const q = (text: string): string => `'${text}'`
