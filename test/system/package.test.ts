import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { buildSync } from 'esbuild'
import { exec, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { publint } from 'publint'
import t, { type Test } from 'tap'
import { until } from '../fixtures/app.ts'
import { blocksIn, masked } from '../fixtures/docs.ts'
import { freePort } from '../fixtures/redis.ts'
import { checkTypes } from '../fixtures/types.ts'
import { publicNames, undocumented } from '../fixtures/public.ts'

const run = promisify(execFile)

/** Checks it with `attw` and `publint`. */
async function lint (t: Test, tarball: string): Promise<void> {
  const bytes = new Uint8Array(readFileSync(tarball))
  const types = await checkPackage(createPackageFromTarballData(bytes))
  t.strictSame(types.types === false ? 'no types' : types.problems, [], 'are the types wrong?')
  const { messages, pkg } = await publint({ pack: { tarball: bytes.buffer }, strict: true })
  t.strictSame(messages, [], 'publint')
  t.notOk(Object.keys(pkg.scripts ?? {}).some(
    name => /^(pre|post)?install$|^prepare$/.test(name)
  ), 'no install scripts')
}

t.test('the packed tarball works from an empty directory: the pages, ES modules, CommonJS, TypeScript', async t => {
  const [dir, packs] = ['walk', 'pack'].map(
    name => mkdtempSync(join(tmpdir(), `fastify-maintenance-${name}-`))
  ) as [string, string]
  t.teardown(() => [dir, packs].forEach(path => rmSync(path, { recursive: true, force: true })))
  // already built; --ignore-scripts avoids a second build while other tests run
  const packed =
    JSON.parse((await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', packs])).stdout)
  const { filename, files } = [packed].flat()[0] ?? Object.values(packed)[0]
  const tarball = join(packs, filename)
  const paths: string[] = files.map(({ path }: { path: string }) => path)
  t.strictSame(paths.filter(
    path =>
      !/^(dist\/(index|lib\/.*|types\/.*)\.(c?js|js\.map|d\.c?ts|eta|css)|dist\/lib\/.*\/locales\/[\w-]+\.json|dist\/package\.json|package\.json|README\.md|LICENSE)$/.test(
        path
      )
  ), [], 'only built files')
  isReadable(t, paths.filter(path => /(?<!\.client)\.js$/.test(path)))
  hasAssets(t, paths)
  await lint(t, tarball)

  await t.test('the quick start of the README, as written', t => walkThrough(t, dir, tarball))
  await t.test('your own tests, as on the page', t => runTestingPage(t, dir))
  await t.test('a custom store, as on the page', t => runStorePage(t, dir))

  const body = `
    const app = Fastify()
    app.register(maintenance, { ignore: { routes: '/health' } })
    app.get('/', async () => 'open')
    app.ready().then(() => app.maintenance.set(true)).then(() => app.inject('/')).then(answer => {
      console.log(answer.statusCode, same)
      return app.close()
    })`
  const programs = {
    'esm.mjs': `import Fastify from 'fastify'
      import maintenance, { fastifyMaintenance } from 'fastify-maintenance'
      import { storeContract } from 'fastify-maintenance/store-contract'
      import { createRequire } from 'node:module'
      import maintenanceAdmin, { adminTexts, fastifyMaintenanceAdmin } from 'fastify-maintenance/admin'
      import { MaintenanceOff, MaintenanceOn } from 'fastify-maintenance/nest'
      import { createSqlStore } from 'fastify-maintenance/sql'
      const require = createRequire(import.meta.url)
      const same = maintenance === fastifyMaintenance && maintenance === require('fastify-maintenance') &&
        maintenanceAdmin === fastifyMaintenanceAdmin && maintenanceAdmin === require('fastify-maintenance/admin') && adminTexts === maintenanceAdmin.adminTexts &&
        [createSqlStore, storeContract, MaintenanceOff, MaintenanceOn].every(value => typeof value === 'function')
      ${body}`,
    'cjs.cjs': `const Fastify = require('fastify')
      const maintenance = require('fastify-maintenance')
      const { storeContract } = require('fastify-maintenance/store-contract')
      const maintenanceAdmin = require('fastify-maintenance/admin')
      const { MaintenanceOff, MaintenanceOn } = require('fastify-maintenance/nest')
      const { createSqlStore } = require('fastify-maintenance/sql')
      const same = typeof maintenance === 'function' && maintenance.default === maintenance && maintenance.fastifyMaintenance === maintenance &&
        maintenanceAdmin.default === maintenanceAdmin && maintenanceAdmin.fastifyMaintenanceAdmin === maintenanceAdmin && maintenanceAdmin.adminTexts.en.title !== undefined &&
        [createSqlStore, storeContract, MaintenanceOff, MaintenanceOn].every(value => typeof value === 'function')
      ${body}`
  }
  for (const [name, program] of Object.entries(programs)) {
    writeFileSync(join(dir, name), program)
    t.equal((await run(process.execPath, [name], { cwd: dir })).stdout, '503 true\n', name)
  }

  await t.test('the three pages, from the package and from a bundle by esbuild', t => renderPages(t, dir))

  const wrong =
    "require('fastify')().register(require('fastify-maintenance'), { nope: 1 }).ready(error => console.log(error.stack))"
  t.match(
    (await run(process.execPath, ['--enable-source-maps', '-e', wrong], { cwd: dir })).stdout,
    /option 'nope'[^]* at checkShape [^]* at readOptions \(.*lib\/options\.ts:\d+/,
    'a stack trace has names and lines of the sources'
  )

  const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
  for (const verbatim of [false, true]) {
    t.equal(
      checkTypes(dir, typescript, { kind: 'nodenext', verbatim, exact: true }),
      '',
      `TypeScript, with import and ${verbatim ? 'require' : 'in CommonJS files'}`
    )
  }
})

t.test('every public name has a comment and is exported by its entry', async t => {
  for (const file of ['types/index.ts', 'types/admin.ts', 'lib/nest.ts', 'lib/stores/contract.ts']) {
    t.strictSame(undocumented(file), [], file)
  }
  t.ok(publicNames('types/index.ts').length > 30)
  for (const [entry, types] of [
    ['lib/entry.d.cts', 'types/index.ts'], ['lib/admin/entry.d.cts', 'types/admin.ts']
  ] as const) {
    const [, names = ''] = /export \{([^}]*)\}/.exec(readFileSync(entry, 'utf8')) ?? []
    const exported = names.split(',').map(name => name.trim())
    t.strictSame(publicNames(types).filter(name => !exported.includes(name)), [], entry)
  }
})

/** As tsc emits it: not minified or bundled, and with a source map that includes the source. */
function isReadable (t: Test, files: string[]): void {
  const sources = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'))
  t.strictSame(sources.map(
    file => `dist/lib/${file.replace(/ts$/, 'js')}`
  ).filter(file => !files.includes(file)), [], 'one file per source')
  for (const file of files) {
    const code = readFileSync(file, 'utf8')
    const { sources: [source = ''], sourcesContent } = JSON.parse(readFileSync(`${file}.map`, 'utf8'))
    const inSource = Math.max(...String(sourcesContent).split('\n').map(line => line.length))
    // tsc puts all exports on one line
    const longest = Math.max(...code.split('\n').filter(line => !line.endsWith('= void 0;')).map(line => line.length))
    if (longest > 200 + inSource) t.fail(`${file} has a line of ${longest} characters`)
    if (!code.trimEnd().endsWith(`//# sourceMappingURL=${basename(file)}.map`)) t.fail(`${file} has no source map`)
    if (readFileSync(join(dirname(file), source), 'utf8') !== String(sourcesContent)) {
      t.fail(`${file}.map does not belong to ${source}`)
    }
  }
}

/** Templates, styles, browser scripts and locales are packed unchanged, and the built module has the same texts. */
function hasAssets (t: Test, paths: string[]): void {
  const { readAsset } = createRequire(import.meta.url)('../../dist/lib/util/asset.cjs')
  const assets = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter(
    file => /\.(eta|css|client\.js|json)$/.test(file)
  )
  t.ok(assets.length > 15)
  for (const file of assets) {
    const text = readFileSync(`lib/${file}`, 'utf8')
    t.ok(paths.includes(`dist/lib/${file}`), file)
    t.equal(readFileSync(`dist/lib/${file}`, 'utf8'), text)
    t.equal(readAsset(file), text)
    t.ok(text.split('\n').every(line => line.length <= 120) ||
      file.includes('/locales/'), `${file}: lines of at most 120 characters`)
  }
}

async function renderPages (t: Test, dir: string): Promise<void> {
  writeFileSync(join(dir, 'pages.cjs'), `
    const app = require('fastify')()
    app.register(require('fastify-maintenance'), { bypass: {} })
    app.register(require('fastify-maintenance/admin'), { prefix: '/admin', authorize: () => true })
    const show = async url => {
      const { body, headers } = await app.inject({ url, headers: { accept: 'text/html', 'accept-language': 'de' } })
      const [, title] = /<title>(.*)<.title>/.exec(body)
      console.log(title, /<style>:root[^]*<script/.test(body), headers['content-security-policy'].includes('sha256-'))
    }
    app.ready().then(() => app.maintenance.set(true)).then(async () => {
      for (const url of ['/', '/maintenance/bypass', '/admin']) await show(url)
      await app.close()
    })`)
  const bundled = join(dir, 'bundled', 'pages.cjs')
  buildSync({
    entryPoints: [join(dir, 'pages.cjs')], outfile: bundled, bundle: true, platform: 'node', logLevel: 'error'
  })
  for (const file of [join(dir, 'pages.cjs'), bundled]) {
    t.equal(
      (await run(process.execPath, [file], { cwd: tmpdir() })).stdout,
      'Wartungsarbeiten true true\nEnter during maintenance true true\nWartung true true\n',
      file
    )
  }
}

/** A user's environment, without variables of the test runner and its npm. */
const env = Object.fromEntries(Object.entries(process.env).filter(
  ([name]) => !/^(NODE_OPTIONS|_?TAP|INIT_CWD|npm_package|npm_lifecycle|npm_config_local_prefix)/.test(name)
))

/** Runs a line, and returns its output. */
async function type (line: string, dir: string): Promise<string> {
  const { stdout } = await promisify(exec)(line, { cwd: dir, env })
  return stdout
}

/** Files that a page names before it shows them: "Save this as `server.mjs`:". */
const filesIn = (page: string): [string, string][] =>
  [...page.matchAll(/\b[Aa]s `([\w.-]+)`:\n\n```js\n([^]*?)^```$/gm)].map(([, name = '', code = '']) => [name, code])

/** From an empty directory, with only Node and npm. */
async function walkThrough (t: Test, dir: string, tarball: string): Promise<void> {
  t.strictSame(readdirSync(dir), [])
  const [page = ''] = /^## Install\n[^]*?(?=^## Who still)/m.exec(readFileSync('README.md', 'utf8')) ?? []
  const port = await freePort()
  const [[file = '', server = ''] = []] = filesIn(page)
  const seen: string[] = []
  for (const { language, code } of blocksIn(page)) {
    seen.push(language)
    if (language === 'js') writeFileSync(join(dir, file), server.replace('3000', String(port)))
    else if (language === 'http') {
      t.equal(
        masked(withoutHops(await ask(port))),
        masked(code.trimEnd()),
        'the answer is the one on the page'
      )
    } else if (code === `node ${file}\n`) await startServer(t, dir, file, port)
    // this build replaces the published one
    else {
      await type(
        code.replace(/^(npm install .*)fastify-maintenance$/m, `$1--no-audit --no-fund --prefer-offline ${tarball}`),
        dir
      )
    }
  }
  t.strictSame(seen, ['sh', 'js', 'sh', 'sh', 'http', 'sh'], 'every block was run')
}

/** Connection and HTTP headers, which the page leaves out. */
function withoutHops (answer: string): string {
  return answer.replace(/^(date|connection|keep-alive|content-length): .*\n/gim, '')
}

async function startServer (t: Test, dir: string, file: string, port: number): Promise<void> {
  const server = spawn(process.execPath, [file], { cwd: dir, env, stdio: 'ignore' })
  t.teardown(async () => {
    server.kill()
    await once(server, 'exit')
  })
  await until(
    'the server of the README answers',
    async () => await ask(port).then(answer => answer.includes('200 OK'), () => false)
  )
}

/** The answer to `GET /`, exact except for the line ends. */
async function ask (port: number): Promise<string> {
  const socket = connect(port, 'localhost')
  let answer = ''
  socket.setEncoding('utf8').on('data', text => { answer += text })
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await new Promise((resolve, reject) => {
    socket.on('error', reject).on('close', resolve).on('data', () => {
      const [head = '', body = ''] = answer.split('\r\n\r\n')
      if (body.length === Number(/content-length: (\d+)/.exec(head)?.[1])) socket.destroy()
    })
  })
  return answer.replaceAll('\r\n', '\n')
}

async function runTestingPage (t: Test, dir: string): Promise<void> {
  const app = join(dir, 'app')
  mkdirSync(app)
  writeFileSync(join(app, 'package.json'), '{ "type": "module" }')
  const files = blocksIn(
    readFileSync('docs/testing-your-app.md', 'utf8')
  ).flatMap(({ code }) => [...code.matchAll(/^\/\/ (\S+\.js)\n[^]*/g)])
  for (const [code, name = ''] of files) writeFileSync(join(app, name), code)
  t.match(await type('node --test', app), /^\S pass 5\n\S fail 0$/m)
  t.strictSame(readdirSync(app).sort(), ['app.js', 'app.test.js', 'package.json'], 'no state file is left behind')
}

async function runStorePage (t: Test, dir: string): Promise<void> {
  const page = readFileSync('docs/custom-stores.md', 'utf8')
  for (const [name, code] of filesIn(page)) writeFileSync(join(dir, name), code)
  const [line] = blocksIn(page).filter(({ language }) => language === 'sh')
  t.match(await type(line?.code ?? '', dir), /^\S pass [1-9]\d\n\S fail 0$/m)
}

t.test('npm run lint:imports finds a backward import and a circle', async t => {
  t.teardown(() => {})
  const folder = t.testdir({
    'tsconfig.json': '{}',
    lib: {
      'gate.ts': "import './state/record.ts'\n",
      state: { 'record.ts': "import type { Gate } from '../gate.ts'\nexport type Planted = Gate\n" }
    }
  })
  const depcruise = join(process.cwd(), 'node_modules/.bin/depcruise')
  const rules = join(process.cwd(), '.ci/dependencies.cjs')
  const { status, stdout } = spawnSync(depcruise, ['--config', rules, 'lib'], { cwd: folder, encoding: 'utf8' })
  t.not(status, 0)
  t.match(stdout, /error state-imports-backwards: lib\/state\/record.ts → lib\/gate.ts/)
  t.match(stdout, /error no-circular/)
})
