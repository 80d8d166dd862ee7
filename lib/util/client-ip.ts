import type { FastifyRequest } from 'fastify'
import { headerOf } from './header.ts'

/** A chain of proxies is a few hundred characters long. */
const FORWARDED_MAX = 4096

/**
 * `request.ip`, unless `X-Forwarded-For` is long enough to keep Fastify busy for milliseconds: then the client
 * counts as unknown (`undefined`), which is no ignored address.
 */
export function clientOf (request: FastifyRequest): string | undefined {
  const forwarded = headerOf(request.raw, 'x-forwarded-for')
  return forwarded !== undefined && forwarded.length > FORWARDED_MAX ? undefined : request.ip
}
