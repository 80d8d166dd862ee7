import type { FastifyRequest } from 'fastify'
import type { Decision, Log, Maintenance, MaintenanceChange } from '../types/index.ts'
import { integer } from './check.ts'
import { ChangeError, isConflict, show, SiteError } from './errors.ts'
import { HISTORY_MAX } from './history.ts'
import type { Site } from './site.ts'

/** What the runs under way on a site have in common. */
interface Runs {
  count: number
  /** The revision by which they closed the site; 0: none did. */
  revision: number
  by: string | undefined
}

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
    const runs: Runs = { count: 0, revision: 0, by: undefined }
    return {
      get active () { return siteOf().gate.active },
      get sites () { return [...names] },
      status: () => siteOf().status(),
      set: async (on, change) => siteOf().set(on, change),
      run: async (work, change) => run(siteOf(), runs, work, change, log),
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

async function run<T> (site: Site, runs: Runs, work: () => T | Promise<T>, change: MaintenanceChange | undefined, log: Log): Promise<T> {
  if (typeof work !== 'function') throw new ChangeError('the work', show(work), 'a function')
  runs.count++
  let result: T
  try {
    const { revision, by } = await site.set(true, change)
    runs.revision = Math.max(runs.revision, revision)
    runs.by = by ?? undefined
    result = await work()
  } catch (error) {
    await leave(site, runs).catch(reason => log.error({ err: reason }, `maintenance: site '${site.name}' stays closed after a run that failed`))
    throw error
  }
  await leave(site, runs)
  return result
}

/** The last one opens the site, unless somebody else has set it since. */
async function leave (site: Site, runs: Runs): Promise<void> {
  const { revision, by } = runs
  if (--runs.count > 0 || revision === 0) return
  runs.revision = 0
  try {
    await site.set(false, { ...(by === undefined ? {} : { by }), expectedRevision: revision })
  } catch (error) {
    if (!isConflict(error)) throw error
  }
}
