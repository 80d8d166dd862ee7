import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const run = promisify(execFile)

t.test('the packed tarball works from an empty project: ESM, CommonJS, TypeScript, and the command', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'fastify-maintenance-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  // built by `npm test` before; --ignore-scripts does not build it once more under the feet of other tests
  const packed = JSON.parse((await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', dir])).stdout)
  const { filename, unpackedSize, files } = [packed].flat()[0] ?? Object.values(packed)[0]
  t.ok(files.every(({ path }: { path: string }) => /^(dist\/|package\.json$|README\.md$|LICENSE$)/.test(path)), 'nothing but what is built')
  t.comment(`unpacked: ${unpackedSize} bytes`)

  writeFileSync(join(dir, 'package.json'), '{ "private": true }')
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', join(dir, filename)], { cwd: dir })
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
      const same = maintenance === fastifyMaintenance && typeof storeContract === 'function'
      ${body}`,
    'cjs.cjs': `const Fastify = require('fastify')
      const maintenance = require('fastify-maintenance')
      const { storeContract } = require('fastify-maintenance/store-contract')
      const same = typeof maintenance === 'function' && maintenance.default === maintenance && maintenance.fastifyMaintenance === maintenance && typeof storeContract === 'function'
      ${body}`
  }
  for (const [name, program] of Object.entries(programs)) {
    writeFileSync(join(dir, name), program)
    t.equal((await run(process.execPath, [name], { cwd: dir })).stdout, '503 true\n', name)
  }

  const typed = `import Fastify from 'fastify'
    import maintenance, { fastifyMaintenance, type MaintenanceStatus } from 'fastify-maintenance'
    const app = Fastify()
    app.register(maintenance, { store: { file: 'x' } })
    app.register(fastifyMaintenance)
    app.get('/', { config: { maintenance: 'off' } }, async request => request.maintenance.reason)
    export const status: Promise<MaintenanceStatus> = app.maintenance.set(true)
    // @ts-expect-error the types reach the user
    app.register(maintenance, { ingore: {} })
    // @ts-expect-error the types reach the user
    app.get('/x', { config: { maintenance: 42 } }, async () => '')
  `
  for (const name of ['typed.mts', 'typed.cts']) writeFileSync(join(dir, name), typed)
  const options = { module: 'nodenext', target: 'es2022', strict: true, noEmit: true, skipLibCheck: true, types: ['node'], typeRoots: [join(process.cwd(), 'node_modules/@types')] }
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['typed.mts', 'typed.cts'] }))
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  const { stdout } = await run(process.execPath, [tsc, '-p', dir]).catch(error => error)
  t.equal(stdout, '', 'TypeScript, as ES module and as CommonJS')

  const state = `file:${join(dir, 'state.json')}`
  t.match((await run('npx', ['fastify-maintenance', 'on', '--store', state], { cwd: dir })).stdout, /^default: closed/)
})
