// The module dist/lib/util/asset.cjs: esbuild and webpack leave out files that are read at run time, so in dist/ the
// assets
// are in a module as well.
import { readdirSync, readFileSync } from 'node:fs'

export function assetModule () {
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
