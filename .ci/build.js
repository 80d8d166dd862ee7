// Builds dist/: what tsc emits, as CommonJS, and the files in lib/ that are not TypeScript sources.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, rmSync, writeFileSync } from 'node:fs'
import { assetModule } from './assets.js'

process.chdir(new URL('..', import.meta.url).pathname)
rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
cpSync('lib', 'dist/lib', { recursive: true, filter: file => !file.endsWith('.ts') })
writeFileSync('dist/lib/util/asset.cjs', assetModule())
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n')
chmodSync('dist/lib/cli/bin.js', 0o755)
