import type { FastifyRequest } from 'fastify'

/** A chain of proxies is a few hundred characters long. */
const FORWARDED_MAX = 4096

/**
 * `request.ip`, unless `X-Forwarded-For` is so long that Fastify would be busy with it for milliseconds: then nobody knows
 * who it is, and `undefined` is given, which is no ignored address.
 */
export function clientOf (request: FastifyRequest): string | undefined {
  const forwarded = request.raw.headers['x-forwarded-for']
  return forwarded !== undefined && forwarded.length > FORWARDED_MAX ? undefined : request.ip
}
