import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { createPages } from './lib/answer/page.ts'
import { createRedirect, localPath } from './lib/answer/redirect.ts'
import { createGuesses } from './lib/bypass/request.ts'
import { addBypassRoutes, BYPASS_PATH } from './lib/bypass/routes.ts'
import { warnOfMissingKey } from './lib/bypass/settings.ts'
import { nameOf } from './lib/drain/activity.ts'
import { closeStreams } from './lib/drain/close-streams.ts'
import { watchHandlers } from './lib/drain/handlers.ts'
import { createInFlight } from './lib/drain/in-flight.ts'
import { warnOfNoLogin } from './lib/exemptions.ts'
import { createCorsCheck } from './lib/cors-check.ts'
import { behindFence, createHook } from './lib/hook.ts'
import { createMaintenance } from './lib/maintenance.ts'
import { createClientCheck } from './lib/match/client.ts'
import { compileRoutes } from './lib/match/route.ts'
import { readOptions, ROBOTS } from './lib/options.ts'
import { createRequestDecisions } from './lib/request-decision.ts'
import { addPublicStatus } from './lib/public-status.ts'
import { createRequestView } from './lib/request-maintenance.ts'
import { getTemplates, routerOptionsOf, watchRoutes } from './lib/route-config.ts'
import { compileRouteRule } from './lib/route-rule.ts'
import { openFence } from './lib/servers/fence.ts'
import { watchFreezes } from './lib/servers/freeze.ts'
import { createServers } from './lib/servers/heartbeat.ts'
import { createSiteApi, toHeartbeatSite, type SiteApi } from './lib/site-api.ts'
import { createSites } from './lib/sites.ts'
import { closeStore, followStore } from './lib/state/poll.ts'
import { createRuns } from './lib/state/runs.ts'
import { timeOf } from './lib/state/time.ts'
import { openStore } from './lib/stores/open.ts'
import { addUpcomingHeader } from './lib/upcoming-header.ts'
import { watchUpgradeListeners } from './lib/upgrade-listeners.ts'
import { createSafeLog } from './lib/util/safe-log.ts'
import type { FastifyMaintenance, FastifyMaintenanceOptions } from './types/index.ts'

async function maintenance (fastify: FastifyInstance, options: FastifyMaintenanceOptions): Promise<void> {
  const settings = readOptions(options)
  const { ignore, response, siteOf } = settings
  const log = createSafeLog(fastify.log)
  warnOfMissingKey(options, log)

  // before anything is awaited, because routes may be declared in the meantime
  const routes = watchRoutes(fastify)
  const workOf = watchHandlers(fastify)
  const router = routerOptionsOf(fastify)
  const checkClient = createClientCheck(log)
  const warnOfCors = createCorsCheck(fastify, log)
  const redirect = response.redirect === undefined ? null : createRedirect(response.redirect, router)
  const redirectPath = localPath(response.redirect)
  const prefix = fastify.prefix.replace(/\/$/, '')
  const bypass = settings.bypass === null
    ? null
    : { settings: settings.bypass, path: prefix + settings.bypass.path, guesses: createGuesses() }
  const ignored = [ROBOTS, ...(redirectPath === null ? [] : [redirectPath]), ...ignore.routes]
  const common = {
    routes: compileRouteRule(compileRoutes(ignored, router), router, path => path === ROBOTS),
    isIgnoredIp: checkClient(ignore.ips),
    checkClient,
    router,
    bypass
  }

  const opened = await openStore(settings.store, settings.sites, log)
  const fence = openFence(settings, opened, log)
  const publicStatus = settings.publicStatus === null ? null : prefix + settings.publicStatus
  const pages = await createPages(fastify, response, publicStatus)
  const decisions = createRequestDecisions()
  const inFlight = createInFlight({
    siteOf: request => finder.of(request).gate.outcomes.inactive.decision.site,
    isExempt: request => routes.of(request).declared === 'off',
    epochOf: request => decisions.get(request)?.epoch,
    workOf,
    onAbandoned: reply => log.warn(`maintenance: ${nameOf(reply)} never settled after its client hung up: no wait counts it`)
  })
  const sites = new Map<string, SiteApi>()
  for (const name of settings.sites) {
    sites.set(name, await createSiteApi({
      name, settings, common, opened, pages, redirect, inFlight, routes, fence, log
    }))
  }
  const all = [...sites.values()]
  const finder = createSites(new Map(all.map(({ site }) => [site.name, site])), settings, common)
  const hook = createHook({ sites: finder, routes, decisions, inFlight, settings })
  const { explain, maintenanceOf } = createRequestView({ sites: finder, routes, decisions })
  const servers = createServers({
    store: opened.store,
    sites: all.map(toHeartbeatSite),
    bypassPath: bypass?.path ?? null,
    fence,
    log
  })
  const runs = createRuns(log)
  const own = siteOf === null ? settings.site : null

  for (const { site, activity } of all) {
    site.onGate(update)
    if (settings.closeStreams !== null) closeStreams({ site, activity }, settings.closeStreams, explain)
  }
  const api = createMaintenance({ sites, own, explain, opened, servers, bypass, runs, log })
  fastify.decorate('maintenance', api)
  fastify.decorate(BYPASS_PATH, bypass?.path ?? null)
  fastify.decorateRequest('maintenance', { getter (this: FastifyRequest) { return maintenanceOf(this) } })
  fastify.addHook('onRequest', fence === null ? hook.onRequest : behindFence(fence, hook.onRequest))
  if (settings.announce !== null) addUpcomingHeader(fastify, settings.announce, finder, () => timeOf(opened.store))
  if (bypass !== null) {
    const passesOf = (request: FastifyRequest) => finder.of(request).gate.passes
    await addBypassRoutes(fastify, { rules: bypass, passesOf, clock: () => timeOf(opened.store) })
  }
  if (settings.publicStatus !== null) {
    const viewOf = (name: string) => (sites.get(name) as SiteApi).site.view
    await addPublicStatus(fastify, settings.publicStatus, {
      finder,
      viewOf,
      response,
      clock: () => timeOf(opened.store)
    })
  }
  fastify.addHook('onReady', async function checkWhatIsThereByNow () {
    routes.check()
    redirect?.check(getTemplates(fastify))
    pages.checkEngine()
    warnOfCors()
    hook.update()
    warnOfNoLogin(settings, routes, log)
    await Promise.all(all.map(({ site }) => site.checkTemplate()))
    await servers.start()
  })
  watchUpgradeListeners(fastify, log)

  fastify.addHook('preClose', async () => {
    hook.close()
    await runs.close()
  })
  await servers.register()
  const everySite = all.map(({ site }) => site)
  const stopFollowing = settings.pinned === undefined ? await followStore(opened, everySite, log) : () => {}
  const refreshAll = () => Promise.all(everySite.map(site => site.refresh()))
  const stopWatching = watchFreezes(fastify.server, () => hook.waitFor(refreshAll()))
  fastify.addHook('onClose', async () => {
    stopWatching()
    stopFollowing()
    await closeStore(opened, servers, log)
  })
  update()

  function update (): void {
    finder.update()
    hook.update()
  }
}

/**
 * Maintenance mode for Fastify: register it, then close the site with `fastify.maintenance.set(true)`.
 * @throws FST_ERR_MAINTENANCE_OPTION while it is registered, if an option is invalid
 */
export const fastifyMaintenance: FastifyMaintenance = fp(maintenance, {
  fastify: '5.x || 6.x',
  name: 'fastify-maintenance'
})
export default fastifyMaintenance

export { conflict, outcomeUnknown } from './lib/stores/store-errors.ts'
export type * from './types/index.ts'
