import type { FastifyRequest } from 'fastify'
import type { Decision } from '../types/index.ts'

/** What was decided of a request, kept on the request itself. */
export interface Decided {
  keep (request: FastifyRequest, decision: Decision): void
  /** `undefined`: it came while every site was open, and nothing had to be decided. */
  of (request: FastifyRequest): Decision | undefined
}

type Marked = FastifyRequest & { [key: symbol]: Decision | undefined }

/** Of one registration of the plugin: another one, in a child, decides on its own. */
export function createDecided (): Decided {
  const key = Symbol('fastify-maintenance.decision')
  return {
    keep (request, decision) { (request as Marked)[key] = decision },
    of: request => (request as Marked)[key]
  }
}
