import type { FastifyRequest } from 'fastify'
import type { Outcome } from './gate.ts'

/** Keeps what was decided about a request on the request itself. */
export interface RequestDecisions {
  set (request: FastifyRequest, outcome: Outcome): void
  /** `undefined`: every site was open when the request came, and nothing had to be decided. */
  get (request: FastifyRequest): Outcome | undefined
}

type Marked = FastifyRequest & { [key: symbol]: Outcome | undefined }

/** Each registration of the plugin has its own: one in a child decides for itself. */
export function createRequestDecisions (): RequestDecisions {
  const key = Symbol('fastify-maintenance.decision')
  return {
    set (request, outcome) { (request as Marked)[key] = outcome },
    get: request => (request as Marked)[key]
  }
}
