import type { FastifyRequest } from 'fastify'
import type { Decision, Log, Maintenance, MaintenanceChange, MaintenanceStatus, WaitOptions } from '../types/index.ts'
import { integer, isObject } from './check.ts'
import { checkTimeout, drained } from './drain.ts'
import { ChangeError, show, SiteError } from './errors.ts'
import { HISTORY_MAX } from './history.ts'
import { run } from './run.ts'
import type { Servers } from './servers.ts'
import type { Site } from './site.ts'
import { waitForServers } from './wait.ts'

/**
 * Makes what hangs at `fastify.maintenance`.
 * @param own `null` where a function chooses the site of each request: then there is none of one's own
 */
export function createMaintenance (sites: ReadonlyMap<string, Site>, own: string | null, explain: (request: FastifyRequest) => Decision, servers: Servers, log: Log): Maintenance {
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
      set: async (on, change) => set(siteOf(), on, change),
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
      drained: async options => drained(siteOf(), options),
      servers: async () => servers.list(siteOf().name),
      history: async ({ limit = HISTORY_MAX } = {}) => siteOf().history(checkLimit(limit))
    }
  }

  async function set (site: Site, on: boolean, change: MaintenanceChange & WaitOptions = {}): Promise<MaintenanceStatus> {
    // refused there, with the words for it
    if (!isObject(change)) return site.set(on, change)
    const { wait, ...rest }: MaintenanceChange & WaitOptions = change
    checkTimeout('wait', wait)
    const status = await site.set(on, rest)
    if (wait === undefined) return status
    await waitForServers({ list: () => servers.list(site.name), on, revision: status.revision, timeout: wait })
    // with the secret of a bypass, which is shown once
    return { ...status, ...site.status() }
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
