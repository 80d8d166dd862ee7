// Builds dist/: one implementation, as CommonJS, which `import` and `require` both understand on every Node; a second
// one for `import` would double the package, and make two plugins of one. One declaration file for each entry.
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { build, transform } from 'esbuild'
import { minify } from 'terser'
import ts from 'typescript'

process.chdir(new URL('..', import.meta.url).pathname)
rmSync('dist', { recursive: true, force: true })
mkdirSync('dist')

/** What is published. Those with a `plugin` are that plugin, as is the way of Fastify's; they share one bundle. */
const ENTRIES = {
  index: { source: 'index.ts', plugin: 'fastifyMaintenance' },
  admin: { source: 'lib/admin/index.ts', plugin: 'fastifyMaintenanceAdmin', more: ['adminTexts'] },
  'store-contract': { source: 'lib/stores/contract.ts' },
  nest: { source: 'lib/nest.ts' }
}
const OUTPUT = { platform: 'node', format: 'cjs', target: 'node20', charset: 'utf8' }
const STRICT = "'use strict'"

const plugins = Object.entries(ENTRIES).filter(([, { plugin }]) => plugin !== undefined)
const shared = [
  ...plugins.map(([, { source, plugin, more = [] }]) => `export { ${[plugin, ...more].join()} } from './${source}'`),
  "export { main } from './lib/cli/main.ts'"
]

await bundle('shared', shared.join('\n'))
for (const [name, { source, plugin, more = [] }] of Object.entries(ENTRIES)) {
  if (plugin === undefined) await bundle(name, `export * from './${source}'`)
  else write(`${name}.cjs`, [STRICT, `const { ${[plugin, ...more].join(', ')} } = require('./shared.cjs')`, `module.exports = ${plugin}`, `module.exports.default = ${plugin}`, ...[plugin, ...more].map(member => `module.exports.${member} = ${member}`), ''].join('\n'))
  write(`${name}.d.cts`, plugin === undefined ? declarations(source) : pluginDeclarations(source, plugin))
}
const bin = readFileSync('lib/cli/bin.ts', 'utf8').replace("'./main.ts'", "'./shared.cjs'")
write('cli.cjs', (await transform(bin, { loader: 'ts', banner: STRICT, ...OUTPUT })).code)
chmodSync('dist/cli.cjs', 0o755)

function write (name, text) {
  writeFileSync(`dist/${name}`, text)
}

/** Functions and classes keep their names, and statements their lines: a stack trace is as good as that of the sources. */
async function bundle (name, contents) {
  const { outputFiles: [{ text }] } = await build({
    stdin: { contents, resolveDir: process.cwd() }, bundle: true, packages: 'external', write: false, banner: { js: STRICT }, ...OUTPUT
  })
  const { code } = await minify(text, {
    ecma: 2020,
    compress: { passes: 2, keep_fnames: true, keep_classnames: true, inline: false, reduce_funcs: false, sequences: false },
    mangle: { toplevel: true, keep_fnames: true, keep_classnames: true },
    format: { semicolons: false }
  })
  // what `import { … }` can see of CommonJS is found by its words, not by running it
  const [exported = ''] = /^0 && \(module\.exports = [^]*?\);$/m.exec(text) ?? []
  write(`${name}.cjs`, `${code}\n${exported.replaceAll(/\s+/g, ' ')}\n`)
}

/** The declarations of a module, with its comments; what is public of other modules stands in index.d.cts. */
function declarations (source) {
  const { outputText } = ts.transpileDeclaration(readFileSync(source, 'utf8'), { fileName: source })
  const text = outputText.replaceAll(/^(?: {4})+/gm, indent => ' '.repeat(indent.length / 2)).replaceAll(/'[./]*types\/index\.ts'/g, "'./index.cjs'")
  const [, inside] = /from '(\..*\.ts)'/.exec(text) ?? []
  if (inside !== undefined) throw new Error(`${source} is public, and takes types from ${inside}: they belong into types/index.ts`)
  return text
}

/** As `module.exports` is the plugin itself, so is `export =`; types, and the plugin by its names, hang at it. */
function pluginDeclarations (source, plugin) {
  const text = source === 'index.ts' ? readFileSync('types/index.ts', 'utf8') + declarations(source) : declarations(source)
  const names = [...text.matchAll(/^export (?:interface|type) (\w+)/gm)].map(match => match[1])
  return text
    .replaceAll(/^(?:import|export) type .* from '\.\/(?:index\.cjs|types\/index\.ts)';?\n/gm, source === 'index.ts' ? '' : '$&')
    .replaceAll(/^export default .*\n/gm, '')
    .replace(/^export declare const (\w+): (\w+);?$/m, 'declare function $1 (...parameters: Parameters<$2>): ReturnType<$2>')
    .replaceAll(/^export (?=interface|type)/gm, '') +
    `declare namespace ${plugin} {\n  export { ${[plugin, `${plugin} as default`, ...names].join(', ')} }\n}\nexport = ${plugin}\n`
}
