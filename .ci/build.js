// Builds dist/: what tsc emits, as CommonJS, and the files in lib/ that are not TypeScript sources.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'

process.chdir(new URL('..', import.meta.url).pathname)
rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
cpSync('lib', 'dist/lib', { recursive: true, filter: file => !file.endsWith('.ts') })
writeFileSync('dist/lib/util/asset.cjs', assetModule())
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n')
chmodSync('dist/lib/cli/bin.js', 0o755)

/** esbuild and webpack leave out files that are read at run time, so in dist/ the assets are in a module as well. */
function assetModule () {
  const files = readdirSync('lib', { recursive: true }).map(file => file.replaceAll('\\', '/'))
  const assets = files.filter(file => /\.(eta|css|client\.js|json)$/.test(file)).sort().map(file => {
    const lines = readFileSync(`lib/${file}`, 'utf8').split('\n').map(line => `    ${JSON.stringify(line)}`)
    return `  '${file}': [\n${lines.join(',\n')}\n  ].join('\\n')`
  })
  return `// Written by the build from the files beside it.
'use strict'

const assets = {
${assets.join(',\n')}
}

exports.readAsset = path => assets[path]
`
}
