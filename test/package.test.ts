import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { publint } from 'publint'
import t, { type Test } from 'tap'
import { checkTypes, installInto } from './fixtures/types.ts'

const run = promisify(execFile)

/** Bytes. */
const UNPACKED_MAX = 150_000

/** What `attw` and `publint` say of it. */
async function lint (t: Test, tarball: string): Promise<void> {
  const bytes = new Uint8Array(readFileSync(tarball))
  const types = await checkPackage(createPackageFromTarballData(bytes))
  t.strictSame(types.types === false ? 'no types' : types.problems, [], 'are the types wrong?')
  const { messages, pkg } = await publint({ pack: { tarball: bytes.buffer }, strict: true })
  t.strictSame(messages, [], 'publint')
  t.notOk(Object.keys(pkg.scripts ?? {}).some(name => /^(pre|post)?install$|^prepare$/.test(name)), 'nothing runs at installation')
}

t.test('the packed tarball works from an empty project: ESM, CommonJS, TypeScript, and the command', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'fastify-maintenance-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  // built by `npm test` before; --ignore-scripts does not build it once more under the feet of other tests
  const packed = JSON.parse((await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', dir])).stdout)
  const { filename, unpackedSize, files } = [packed].flat()[0] ?? Object.values(packed)[0]
  const tarball = join(dir, filename)
  t.ok(files.every(({ path }: { path: string }) => /^(dist\/[\w-]+\.d?\.?cts$|dist\/[\w-]+\.cjs$|package\.json$|README\.md$|LICENSE$)/.test(path)), 'nothing but what is built')
  t.ok(unpackedSize < UNPACKED_MAX, `unpacked: ${unpackedSize} bytes of ${UNPACKED_MAX}`)
  await lint(t, tarball)
  installInto(dir, tarball)
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
      const same = maintenance === fastifyMaintenance && maintenance === createRequire(import.meta.url)('fastify-maintenance') && typeof storeContract === 'function'
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

  const wrong = "require('fastify')().register(require('fastify-maintenance'), { nope: 1 }).ready(error => console.log(error.stack))"
  t.match((await run(process.execPath, ['-e', wrong], { cwd: dir })).stdout, /option 'nope'[^]* at checkShape [^]* at readOptions /, 'a stack trace has the names of the sources')

  t.equal(checkTypes(dir, createRequire(import.meta.url).resolve('typescript/bin/tsc'), true), '', 'TypeScript, as ES module and as CommonJS')

  const state = `file:${join(dir, 'state.json')}`
  t.match((await run('npx', ['fastify-maintenance', 'on', '--store', state], { cwd: dir })).stdout, /^default: closed/)
})
