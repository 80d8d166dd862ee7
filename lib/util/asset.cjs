// Reads a template, style sheet, browser script or locale. CommonJS, because the sources are ES modules and dist/ is
// not: `__dirname` is all that both have. The build replaces this file with one that contains the assets (see
// .ci/assets.js).
'use strict'

const { readFileSync } = require('node:fs')
const { join } = require('node:path')

exports.readAsset = path => readFileSync(join(__dirname, '..', path), 'utf8')
