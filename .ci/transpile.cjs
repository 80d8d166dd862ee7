// How tap makes JavaScript of a test and of the sources: as it always does, by TypeScript, but each version of a file
// once. Without this, forty test files, and each command that one of them starts, would each compile a hundred sources.
'use strict'

const { createHash } = require('node:crypto')
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const ts = require('typescript')

const CACHE = join(__dirname, '../node_modules/.cache/transpiled')

/** ts-node asks for this: https://typestrong.org/ts-node/docs/transpilers#third-party-transpilers */
exports.create = ({ service, nodeModuleEmitKind }) => {
  const module = nodeModuleEmitKind === 'nodeesm' ? ts.ModuleKind.ES2022 : ts.ModuleKind.CommonJS
  const compilerOptions = { ...service.config.options, module, moduleResolution: ts.ModuleResolutionKind.Bundler }
  const setting = ts.version + JSON.stringify(compilerOptions)
  return {
    transpile: (code, { fileName }) =>
      once(setting + fileName + code, () => ts.transpileModule(code, { fileName, compilerOptions }))
  }
}

/** What `make` returns, kept beside the packages. */
function once (input, make) {
  const path = join(CACHE, createHash('sha256').update(input).digest('hex'))
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    const { outputText, sourceMapText } = make()
    mkdirSync(CACHE, { recursive: true })
    // two processes may come at once
    writeFileSync(`${path}.${process.pid}`, JSON.stringify({ outputText, sourceMapText }))
    renameSync(`${path}.${process.pid}`, path)
    return { outputText, sourceMapText }
  }
}
