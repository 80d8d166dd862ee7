// CommonJS as it is, because tsc makes a `require` of an `import()`, and a module of the user may be either kind.
'use strict'

exports.importModule = url => import(url)
