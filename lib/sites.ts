import type { FastifyRequest } from 'fastify'
import { createCounts } from './counts.ts'
import { compileGate, type GateWindow } from './gate.ts'
import type { Settings } from './options.ts'
import type { Site, SiteContext } from './site.ts'
import { assumedWindow } from './state/window.ts'
import { compileWindow, type CommonRules, type WindowRules } from './window-rules.ts'

export interface Sites {
  /** Finds the site of a request: the server's own, or the one that the function `site` names. */
  of (request: FastifyRequest): SiteContext
  readonly allOpen: boolean
  /** To be called when the gate of a site was replaced. */
  update (): void
}

export function createSites (
  sites: ReadonlyMap<string, Site>,
  { site, siteOf, ignore }: Settings,
  common: CommonRules
): Sites {
  const all = [...sites.values()]
  const own = (sites.get(site) ?? (all[0] as Site)).context
  const unknownSite = { gate: own.gate, counts: createCounts() }
  let allOpen = false

  function named (request: FastifyRequest): SiteContext {
    try {
      return sites.get((siteOf as NonNullable<typeof siteOf>)(request))?.context ?? unknownSite
    } catch {
      return unknownSite
    }
  }

  /** Clients choose their Host header, so a request for an unknown site is blocked if any site is closed. */
  function update (): void {
    const closed = all.filter(({ gate }) => gate.active)
    allOpen = closed.length === 0
    if (siteOf === null) return
    const windows = closed.flatMap(({ gate }) => gate.windows)
    const deciding = windows.find(({ readOnly }) => !readOnly) ?? windows[0]
    unknownSite.gate = compileGate({
      site: null,
      windows: deciding === undefined ? [] : [anonymous(deciding)],
      upcoming: null,
      epoch: Math.max(...all.map(({ gate }) => gate.epoch)),
      asksUser: ignore.request !== undefined,
      answer: own.gate.outcomes.inactive.answer
    })
  }

  /** Only the options let requests through: what a window of one site ignores must not open another. */
  function anonymous ({ id, readOnly, answer }: GateWindow): WindowRules {
    const window = { ...assumedWindow('store', 0), id, mode: readOnly ? 'read-only' : 'full' }
    return compileWindow(window, common, answer, Date.now)
  }

  return {
    of: siteOf === null ? () => own : named,
    get allOpen () {
      return allOpen
    },
    update
  }
}
