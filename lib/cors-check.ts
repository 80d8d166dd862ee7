import type { FastifyInstance } from 'fastify'
import type { Log } from './util/log.ts'

const CORS = '@fastify/cors'

/**
 * A blocked request runs no later hook, so only an `@fastify/cors` that was registered before puts its headers on the
 * 503.
 * @returns to be called when everything is loaded: warns if one came later, or in a child context
 */
export function createCorsCheck (fastify: FastifyInstance, log: Log): () => void {
  const before = fastify.hasPlugin(CORS)
  let later: string | undefined

  fastify.addHook('onRoute', function noteCors () {
    if (!before && later === undefined && this.hasPlugin(CORS)) later = this.prefix
  })

  return () => {
    if (later === undefined) return
    log.warn(
      `maintenance: ${CORS} is registered after this plugin, or in a child context${later === '' ? '' : ` (prefix '${later}')`}: ` +
        'blocked requests get no CORS headers, and scripts of other origins cannot read the 503. Register it first, on the same instance'
    )
  }
}
