'use strict'

// CommonJS, because it needs the folder in which it lies: in lib/ while developing, and in dist/lib/ once built.
const { readFileSync } = require('node:fs')
const { join } = require('node:path')

/** Reads a file of lib/, such as `answer/page/page.eta`. */
exports.readAsset = path => readFileSync(join(__dirname, '..', path), 'utf8')
