// The entry `fastify-maintenance/admin`, as it is in dist/: `require` gives the plugin itself.
'use strict'

const { adminTexts, fastifyMaintenanceAdmin } = require('./index.js')

module.exports = fastifyMaintenanceAdmin
module.exports.default = fastifyMaintenanceAdmin
module.exports.fastifyMaintenanceAdmin = fastifyMaintenanceAdmin
module.exports.adminTexts = adminTexts
