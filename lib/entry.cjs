// The entry of the package, as it is in dist/: `require` gives the plugin itself.
'use strict'

const { conflict, fastifyMaintenance, outcomeUnknown } = require('../index.js')

module.exports = fastifyMaintenance
module.exports.default = fastifyMaintenance
module.exports.fastifyMaintenance = fastifyMaintenance
module.exports.conflict = conflict
module.exports.outcomeUnknown = outcomeUnknown
