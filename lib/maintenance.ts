import type { FastifyRequest } from 'fastify'
import type { Bypass, Decision, Maintenance, MaintenanceStatus } from '../types/index.ts'
import { bypassOf, type BypassRules } from './bypass/request.ts'
import { drained, timeout } from './drain/drain.ts'
import { ChangeError, InvalidChangeError, show, SiteError } from './errors.ts'
import type { Servers } from './servers/heartbeat.ts'
import { withServersOfRuns } from './servers/run-servers.ts'
import { keepsServers } from './servers/server-list.ts'
import { waitForServers } from './servers/wait.ts'
import type { SiteApi } from './site-api.ts'
import type { Site } from './site.ts'
import { checkCancelling, checkOpening, checkSet, checkUpdate, fail, type Change } from './state/change.ts'
import { cancelWindow, closeSite, openSite, updateWindow, type Edit } from './state/edit.ts'
import { HISTORY_MAX } from './state/history.ts'
import { checkRun } from './state/run.ts'
import type { Runs } from './state/runs.ts'
import { toDuration } from './util/duration.ts'
import { timeOf } from './state/time.ts'
import type { StateView } from './state/view.ts'
import type { OpenedStore } from './stores/open.ts'
import type { Log } from './util/log.ts'
import { bool, checkShape, integer, isObject, text, type Shape } from './util/validate.ts'

export interface MaintenanceParts {
  readonly sites: ReadonlyMap<string, SiteApi>
  /** `null`: a function chooses the site of each request, so there is no default one. */
  readonly own: string | null
  readonly explain: (request: FastifyRequest) => Decision
  readonly opened: OpenedStore
  readonly servers: Servers
  /** `null`: the option `bypass` is not set. */
  readonly bypass: BypassRules | null
  readonly runs: Runs
  readonly log: Log
}

/** Makes `fastify.maintenance`. */
export function createMaintenance ({
  sites,
  own,
  explain,
  opened,
  servers,
  bypass,
  runs,
  log
}: MaintenanceParts): Maintenance {
  const names = [...sites.keys()]
  const apis = new Map(Array.from(sites, ([name, api]) => [name, createApi(() => api)]))

  function find (name: string): Maintenance {
    const api = apis.get(name)
    if (api === undefined) throw new SiteError(`${show(name)} is unknown`, `one of ${names.join(', ')}`)
    return api
  }

  /** The link of a new secret; `null`: there is none. */
  function linkOf ({ secret }: Change): Bypass | null {
    if (typeof secret !== 'string') return null
    if (bypass === null) {
      throw new InvalidChangeError("bypass links are not enabled. Add bypass: {} to the plugin's options")
    }
    return bypassOf(secret, bypass.path)
  }

  function createApi (siteOf: () => SiteApi): Maintenance {
    async function write (edit: Edit, change: Change, wait: Wait | null): Promise<MaintenanceStatus> {
      const { site, status } = siteOf()
      const link = linkOf(change)
      const view = await site.write(edit, { expectedRevision: change.expectedRevision }).catch(async error => {
        throw await withServersOfRuns(error, () => servers.entries(site.name), () => timeOf(opened.store))
      })
      const describe = (): MaintenanceStatus => ({ ...status(view), ...runtimeOf(status(site.view)) })
      if (wait !== null) {
        await waitForAll(site, view, wait, 'but the change stands').catch(error => {
          throw Object.assign(error, { status: describe() })
        })
      }
      const written = wait === null ? status(view) : describe()
      return link === null ? written : { ...written, bypass: link }
    }

    return {
      get active () {
        return siteOf().site.gate.active
      },
      get sites () {
        return [...names]
      },
      status () {
        const { site, status } = siteOf()
        return status(site.view)
      },
      async set (on: unknown, options: unknown = {}) {
        if (typeof on !== 'boolean') {
          throw new InvalidChangeError(`set(): the first argument must be true or false, got ${show(on)}`)
        }
        const { wait, rest } = takeWait(options)
        const change = on ? checkSet(rest) : checkOpening(rest)
        if (wait !== null && isLater(change)) {
          throw fail('wait', wait.timeout, 'no wait with a startsAt in the future: nothing closes yet')
        }
        return write(on ? closeSite(change) : openSite(change), change, wait)
      },
      async update (options, which = {}) {
        const { window } = checkOptions(UPDATE_OPTIONS, which)
        const { wait, rest } = takeWait(options)
        const change = checkUpdate(rest)
        return write(updateWindow(change, window), change, wait)
      },
      async cancel (id, options = {}) {
        const change = checkCancelling(options)
        return write(cancelWindow(id, change.by ?? null), change, null)
      },
      async run (work, options = {}) {
        const { wait, rest } = takeWait(options)
        const { site, tracker } = siteOf()
        const checked = checkRun(work, rest)
        const link = linkOf(checked.change)
        const ready = (signal: AbortSignal): Promise<void> =>
          wait === null
            ? Promise.resolve()
            : waitForAll(site, site.view, wait, 'and the site is back as it was', signal)
        return runs.run({ site: runSiteOf(site), work, track: tracker.track, bypass: link, ready }, checked)
      },
      async track (work, name) {
        return siteOf().tracker.track(work, name)
      },
      for: find,
      async refresh () {
        const { site, status } = siteOf()
        await site.refresh()
        return status(site.view)
      },
      explain (request) {
        siteOf()
        return explain(request)
      },
      onChange (listener) {
        if (typeof listener !== 'function') {
          throw new ChangeError('the listener', show(listener), 'a function (status, previous)')
        }
        return siteOf().listen(listener)
      },
      async drained (options) {
        const { site, activity } = siteOf()
        return drained(activity, () => site.gate.active, options)
      },
      servers: async () => servers.list(siteOf().site.name),
      async history (options = {}) {
        const { limit = HISTORY_MAX } = checkOptions(HISTORY_OPTIONS, options)
        return siteOf().history.read(limit)
      }
    }
  }

  /** Waits until it is safe to go on with this state. */
  async function waitForAll (
    { name }: Site,
    { record, active }: StateView,
    { timeout, assumeDead }: Wait,
    otherwise: string,
    signal?: AbortSignal
  ): Promise<void> {
    await waitForServers({
      site: name,
      list: () => servers.entries(name),
      now: () => timeOf(opened.store),
      // this server may be closed by its fence while the site opens
      on: active.some(({ id }) => id !== 'fenced'),
      revision: record.revision,
      timeout,
      assumeDead,
      strikeOff: servers.strikeOff,
      otherwise,
      signal,
      say: text => log.info(`maintenance: ${text}`),
      remark: text => log.warn(`maintenance: ${text}`)
    })
  }

  /** @throws FST_ERR_MAINTENANCE_CHANGE, also if nobody can know the servers: before anything is written */
  function takeWait (options: unknown): { wait: Wait | null; rest: Record<string, unknown> } {
    const { wait, rest } = readWait(options)
    if (wait !== null && opened.kind !== 'memory' && !keepsServers(opened.store)) {
      throw new InvalidChangeError(
        'wait: this store has no heartbeat() and heartbeats(), so its servers are unknown. Nothing was changed'
      )
    }
    return { wait, rest }
  }

  return own !== null
    ? find(own)
    : createApi(() => {
      throw new SiteError(
        'is not named: a function chooses it for each request',
          `for(site) with one of ${names.join(', ')}`
      )
    })
}

const runSiteOf = (site: Site) => ({
  name: site.name,
  ownRuns: site.ownRuns,
  write: site.write,
  onRecord: (listener: (record: StateView['record']) => void) => site.onChange(({ record }) => listener(record))
})

/** What this server is doing now, beside the state that was written. */
const runtimeOf = ({ counts, held, inFlight, streams }: MaintenanceStatus) => ({ counts, held, inFlight, streams })

const isLater = ({ startsAt }: Change): boolean =>
  startsAt !== undefined && startsAt !== null && ('after' in startsAt || Date.parse(startsAt.at) > Date.now())

const WAIT_DEFAULT = 30_000

interface Wait {
  /** ms */
  readonly timeout: number
  readonly assumeDead: boolean
}

/** @returns `wait`, `null` for no wait, and what else there is */
function readWait (options: unknown): { wait: Wait | null, rest: Record<string, unknown> } {
  if (!isObject(options)) throw fail('the change', options, 'an object')
  const { wait, assumeDead = false, ...rest } = options
  if (!bool.test(assumeDead)) throw fail('assumeDead', assumeDead, bool.expected)
  if (wait === undefined || wait === false) {
    if (assumeDead === true) {
      throw fail('assumeDead', assumeDead, 'a wait beside it: it says what the wait need not wait for')
    }
    return { wait: null, rest }
  }
  if (wait !== true && !timeout.test(wait)) throw fail('wait', wait, `true, or ${timeout.expected}`)
  return { wait: { timeout: wait === true ? WAIT_DEFAULT : toDuration(wait), assumeDead: assumeDead === true }, rest }
}

const UPDATE_OPTIONS: Shape = { window: { expected: 'the ID of a window', test: text(100).test } }
const HISTORY_OPTIONS: Shape = { limit: integer(1, HISTORY_MAX) }

/** @throws FST_ERR_MAINTENANCE_CHANGE */
function checkOptions<T extends object> (shape: Shape, options: T): T {
  checkShape(shape, options, (name, value, expected, known) => fail(name || 'the options', value, expected, known))
  return options
}
