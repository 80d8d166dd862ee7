import type { FastifyRequest } from 'fastify'
import { compileGate, type Gate, type GateParts } from './gate.ts'
import type { Settings } from './options.ts'

/** Of this server, since it started; `held`: at this moment. */
export interface Counts { blocked: number, ignored: number, held: number }

/** Where a request belongs: the gate that stands now, and what is counted there. */
export interface Place {
  readonly gate: Gate
  readonly counts: Counts
}

export interface Places {
  of (request: FastifyRequest): Place
  readonly allOpen: boolean
  /** To be called whenever a site's gate was replaced. */
  update (): void
}

/** What all gates of this server have in common. */
export type CommonParts = Pick<GateParts, 'routes' | 'isIgnoredIp' | 'asksUser' | 'bypass' | 'router' | 'unrouted'>

/** Finds the site of a request: the server's own, or the one that the `site` function names. */
export function createPlaces (sites: ReadonlyMap<string, Place>, { site, siteOf }: Settings, common: CommonParts): Places {
  const all = [...sites.values()]
  const own = sites.get(site) ?? all[0] as Place
  const nowhere = { gate: own.gate, counts: { blocked: 0, ignored: 0, held: 0 } }
  let allOpen = false

  function named (request: FastifyRequest): Place {
    try {
      return sites.get((siteOf as NonNullable<typeof siteOf>)(request)) ?? nowhere
    } catch {
      return nowhere
    }
  }

  /** The client chooses its Host header: a request for no known site is refused if any site is closed. */
  function update (): void {
    const closed = all.filter(place => place.gate.active)
    allOpen = closed.length === 0
    if (siteOf === null) return
    const readOnly = closed.every(place => place.gate.readOnly)
    nowhere.gate = compileGate({
      ...common, index: all.length, site: null, active: !allOpen, mode: readOnly ? 'read-only' : 'full', upcoming: null, pass: null, clock: Date.now, answer: (closed[0] ?? own).gate.answer
    })
  }

  return {
    of: siteOf === null ? () => own : named,
    get allOpen () { return allOpen },
    update
  }
}
