import type { FastifyRequest } from 'fastify'
import type { Decision, Maintenance, MaintenanceChange, WaitOptions } from '../types/index.ts'
import type { Log } from './util/log.ts'
import { integer, isObject } from './util/validate.ts'
import { checkTimeout, drained } from './drain/drain.ts'
import { ChangeError, show, SiteError } from './errors.ts'
import { HISTORY_MAX } from './state/history.ts'
import { run } from './state/run.ts'
import type { Servers } from './servers/heartbeat.ts'
import type { Site } from './site.ts'
import { waitForServers } from './servers/wait.ts'

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
      async set (on: boolean, options?: MaintenanceChange & WaitOptions) {
        const { wait, change } = takeWait(options)
        const site = siteOf()
        const status = await site.set(on, change)
        await waitForAll(site, on, wait)
        // with the secret of a bypass, which is shown once
        return wait === undefined ? status : { ...status, ...site.status() }
      },
      async run (work, options) {
        const { wait, change } = takeWait(options)
        const site = siteOf()
        return run(site, work, change, log, () => waitForAll(site, true, wait))
      },
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

  /** Until every server of the site has the state that this one has now. */
  async function waitForAll (site: Site, on: boolean, timeout: number | undefined): Promise<void> {
    if (timeout !== undefined) await waitForServers({ list: () => servers.list(site.name), on, revision: site.status().revision, timeout })
  }

  return own !== null
    ? find(own)
    : createApi(() => {
      throw new SiteError('is not named: a function chooses it for each request', `for(site) with one of ${names.join(', ')}`)
    })
}

/** Of the rest, whatever it is, `checkChange` says what is wrong. */
function takeWait<T extends object> (options: (T & WaitOptions) | undefined): { wait: number | undefined, change: T | undefined } {
  if (!isObject(options)) return { wait: undefined, change: options }
  const { wait, ...change } = options as T & WaitOptions
  checkTimeout('wait', wait)
  return { wait, change: change as T }
}

function checkLimit (limit: number): number {
  const rule = integer(1, HISTORY_MAX)
  if (!rule.test(limit)) throw new ChangeError('limit', show(limit), rule.expected)
  return limit
}
