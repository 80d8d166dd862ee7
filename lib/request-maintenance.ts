import type { FastifyRequest } from 'fastify'
import type { Decision, RequestMaintenance } from '../types/index.ts'
import { decide } from './decision.ts'
import type { Outcome } from './gate.ts'
import { createRefusal, type RefusalParts } from './refuse.ts'

export interface RequestView {
  /** `request.maintenance`: what was decided when the request arrived, and a way to refuse a write. */
  maintenanceOf (request: FastifyRequest): RequestMaintenance
  /** What would be decided now, without `ignore.request`. */
  explain (request: FastifyRequest): Decision
}

export function createRequestView (parts: RefusalParts): RequestView {
  const { sites, routes, decisions } = parts
  const refuseWrite = createRefusal(parts)

  function explain (request: FastifyRequest): Decision {
    return (decide(sites.of(request).gate, request, routes.of(request), false) as Outcome).decision
  }

  function maintenanceOf (request: FastifyRequest): RequestMaintenance {
    const decision = decisions.get(request)?.decision ?? whileOpen(request)
    const refuse = (): void => refuseWrite(request)
    // not enumerable: logs and responses show what was decided
    return Object.freeze(Object.defineProperty({ ...decision }, 'refuse', { value: refuse })) as RequestMaintenance
  }

  function whileOpen (request: FastifyRequest): Decision {
    const { site, upcoming } = sites.of(request).gate.outcomes.inactive.decision
    const reason = routes.of(request).declared === 'off' ? 'route-off' : 'inactive'
    return Object.freeze({ blocked: false, reason, site, active: false, mode: null, window: null, upcoming })
  }

  return { maintenanceOf, explain }
}
