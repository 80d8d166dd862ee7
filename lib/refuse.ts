import type { FastifyRequest } from 'fastify'
import { decide } from './decision.ts'
import { MaintenanceError } from './errors.ts'
import type { Outcome } from './gate.ts'
import type { RequestDecisions } from './request-decision.ts'
import type { Route, RouteConfigs } from './route-config.ts'
import type { Sites } from './sites.ts'

export interface RefusalParts {
  readonly sites: Sites
  readonly routes: RouteConfigs
  readonly decisions: RequestDecisions
}

/**
 * Makes `request.maintenance.refuse()`: decides as if the request were a write that arrives now, because a WebSocket
 * lives on after its handshake was let through.
 */
export function createRefusal ({ sites, routes, decisions }: RefusalParts): (request: FastifyRequest) => void {
  return function refuseWrite (request) {
    const { gate } = sites.of(request)
    // it was asked when the request arrived, and cannot be asked again without waiting
    const userSays = decisions.get(request)?.reason === 'ignored-request'
    const outcome = decide(gate, request, asWrite(routes.of(request)), userSays) as Outcome
    if (outcome.decision.blocked) throw toError(request, outcome)
  }
}

const asWrite = (route: Route): Route => route.declared === 'off' ? route : { ...route, declared: 'write' }

/** Fastify sends its status code and headers, GraphQL its extensions. */
function toError (request: FastifyRequest, { answer }: Outcome): Error {
  const { message, mode, statusCode, retryAfter, endsAt } = answer.describe(request)
  // Fastify makes a 500 of an error with a status code below 400
  const status = statusCode < 400 ? 503 : statusCode
  return Object.assign(new MaintenanceError(message), {
    statusCode: status,
    headers: {
      'cache-control': 'no-store',
      'maintenance-mode': mode,
      ...(retryAfter === null ? {} : { 'retry-after': String(retryAfter) })
    },
    extensions: { code: 'FST_ERR_MAINTENANCE', statusCode: status, mode, retryAfter, endsAt }
  })
}
