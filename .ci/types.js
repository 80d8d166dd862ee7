// Checks the types of the packed tarball as a user's TypeScript does: `node .ci/types.js 5.4 5.9 7.0`, each installed
// from npm; CI runs it. Without versions: with the TypeScript of this project, as test/package.test.ts does.
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const SETTINGS = { strict: true, target: 'es2022', noEmit: true, types: ['node'], typeRoots: [join(root, 'node_modules/@types')] }

/** @returns what is wrong with our types for who has installed the package in `dir`; '' where nothing is */
export function checkTypes (dir, tsc) {
  for (const name of ['typed.mts', 'typed.cts', 'typed.ts']) cpSync(join(root, 'test/fixtures/user/typed.ts'), join(dir, name))
  cpSync(join(root, 'test/fixtures/user/required.cts'), join(dir, 'required.cts'))
  const projects = {
    nodenext: { compilerOptions: { ...SETTINGS, module: 'nodenext' }, files: ['typed.mts', 'typed.cts', 'required.cts'] },
    bundler: { compilerOptions: { ...SETTINGS, module: 'esnext', moduleResolution: 'bundler', skipLibCheck: true }, files: ['typed.ts'] }
  }
  return Object.entries(projects).map(([name, project]) => {
    writeFileSync(join(dir, `${name}.json`), JSON.stringify(project))
    const { stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', join(dir, `${name}.json`)], { cwd: dir, encoding: 'utf8' })
    // our declarations are checked as well; those of others are not ours to mend
    return `${stdout}${stderr}`.split('\n').filter(line => /^(typed|required|error|node_modules\/fastify-maintenance)/.test(line)).join('\n')
  }).join('')
}

/** Installs the tarball, and more, into an empty project. */
export function installInto (dir, tarball, ...more) {
  writeFileSync(join(dir, 'package.json'), '{ "private": true }')
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--silent', '--prefer-offline', tarball, ...more], { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const dir = mkdtempSync(join(tmpdir(), 'fastify-maintenance-types-'))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  const versions = process.argv.slice(2)
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir], { cwd: root, stdio: 'ignore' })
  const { name, version } = createRequire(import.meta.url)('../package.json')
  installInto(dir, join(dir, `${name}-${version}.tgz`), ...versions.map(version => `typescript-${version}@npm:typescript@${version}`))
  const compilers = versions.length === 0 ? [['own', join(root, 'node_modules/typescript')]] : versions.map(version => [version, join(dir, `node_modules/typescript-${version}`)])
  for (const [version, path] of compilers) {
    const wrong = checkTypes(dir, join(path, 'bin/tsc'))
    console.log(`TypeScript ${version}: ${wrong === '' ? 'good' : wrong}`)
    if (wrong !== '') process.exitCode = 1
  }
}
