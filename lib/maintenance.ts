import type { FastifyRequest } from 'fastify'
import type { Decision, Log, Maintenance } from '../types/index.ts'
import { integer } from './check.ts'
import { ChangeError, show, SiteError } from './errors.ts'
import { HISTORY_MAX } from './history.ts'
import { run } from './run.ts'
import type { Site } from './site.ts'

/**
 * Makes what hangs at `fastify.maintenance`.
 * @param own `null` where a function chooses the site of each request: then there is none of one's own
 */
export function createMaintenance (sites: ReadonlyMap<string, Site>, own: string | null, explain: (request: FastifyRequest) => Decision, log: Log): Maintenance {
  const names = [...sites.keys()]
  const apis = new Map(names.map(name => [name, createApi(() => sites.get(name) as Site)]))

  function find (name: string): Maintenance {
    const api = apis.get(name)
    if (api === undefined) throw new SiteError(`${show(name)} is unknown`, `one of ${names.join(', ')}`)
    return api
  }

  function createApi (siteOf: () => Site): Maintenance {
    return {
      get active () { return siteOf().gate.active },
      get sites () { return [...names] },
      status: () => siteOf().status(),
      set: async (on, change) => siteOf().set(on, change),
      run: async (work, change) => run(siteOf(), work, change, log),
      for: find,
      async refresh () {
        const site = siteOf()
        await site.refresh()
        return site.status()
      },
      explain (request) {
        siteOf()
        return explain(request)
      },
      onChange: listener => siteOf().onChange(listener),
      history: async ({ limit = HISTORY_MAX } = {}) => siteOf().history(checkLimit(limit))
    }
  }

  return own !== null
    ? find(own)
    : createApi(() => {
      throw new SiteError('is not named: a function chooses it for each request', `for(site) with one of ${names.join(', ')}`)
    })
}

function checkLimit (limit: number): number {
  const rule = integer(1, HISTORY_MAX)
  if (!rule.test(limit)) throw new ChangeError('limit', show(limit), rule.expected)
  return limit
}
