// Builds dist/ twice: as ES modules, and in dist/cjs as CommonJS, where `require` gives the plugin itself.
import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const compile = (...options) => execFileSync(process.execPath, [tsc, ...options], { stdio: 'inherit' })

process.chdir(new URL('..', import.meta.url).pathname)
rmSync('dist', { recursive: true, force: true })
compile()
compile('--module', 'commonjs', '--moduleResolution', 'bundler', '--verbatimModuleSyntax', 'false', '--outDir', 'dist/cjs')
writeFileSync('dist/cjs/package.json', '{"type":"commonjs"}\n')
for (const plugin of ['dist/cjs/index.js', 'dist/cjs/lib/admin/index.js']) appendFileSync(plugin, '\nmodule.exports = Object.assign(exports.default, exports)\n')

const { bin } = JSON.parse(readFileSync('package.json', 'utf8'))
for (const file of Object.values(bin)) chmodSync(file, 0o755)
