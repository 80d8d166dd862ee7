// npx fastify start examples/fastify-cli/app.js
import { join } from 'node:path'
import autoload from '@fastify/autoload'

const { dirname } = import.meta

export default async function app (fastify, options) {
  // the plugins first: what is loaded before the routes closes them all
  await fastify.register(autoload, { dir: join(dirname, 'plugins'), options })
  await fastify.register(autoload, { dir: join(dirname, 'routes'), options })
}
