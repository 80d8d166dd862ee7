// Builds dist/: what tsc emits, as CommonJS, and beside it the files of lib/ and types/ that are no TypeScript sources.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, rmSync, writeFileSync } from 'node:fs'

process.chdir(new URL('..', import.meta.url).pathname)
rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
for (const folder of ['lib', 'types']) cpSync(folder, `dist/${folder}`, { recursive: true, filter: file => !file.endsWith('.ts') })
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n')
chmodSync('dist/lib/cli/bin.js', 0o755)
