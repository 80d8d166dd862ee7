import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { createPages } from './lib/answer/page.ts'
import { localPath } from './lib/answer/redirect.ts'
import { createGuesses } from './lib/bypass/request.ts'
import { addBypassRoutes, BYPASS_PATH } from './lib/bypass/routes.ts'
import { createDecided } from './lib/request-decision.ts'
import { createHook } from './lib/hook.ts'
import { createMaintenance } from './lib/maintenance.ts'
import { createClientCheck } from './lib/match/client.ts'
import { compileRoutes } from './lib/match/route.ts'
import { readOptions, ROBOTS } from './lib/options.ts'
import { createPlaces } from './lib/sites.ts'
import { routerOptionsOf, watchRoutes } from './lib/route-config.ts'
import { createRunning } from './lib/drain/in-flight.ts'
import { createServers } from './lib/servers/heartbeat.ts'
import { createSite, type Site } from './lib/site.ts'
import { closeStore, followStore } from './lib/state/poll.ts'
import { openStore } from './lib/stores/open.ts'
import { closeStreams } from './lib/drain/close-streams.ts'
import { watchUpgradeListeners } from './lib/upgrade-listeners.ts'
import { createSafeLog } from './lib/util/safe-log.ts'
import { warnOfNoLogin } from './lib/exemptions.ts'
import type { FastifyMaintenance, FastifyMaintenanceOptions } from './types/index.ts'

async function maintenance (fastify: FastifyInstance, options: FastifyMaintenanceOptions): Promise<void> {
  const settings = readOptions(options)
  const { ignore, response, siteOf } = settings
  const log = createSafeLog(fastify.log)

  // before anything is awaited: routes may be declared meanwhile
  const routes = watchRoutes(fastify)
  const router = routerOptionsOf(fastify)
  const bypass = settings.bypass === null ? null : { settings: settings.bypass, path: fastify.prefix.replace(/\/$/, '') + settings.bypass.path, guesses: createGuesses() }
  const unrouted = new Set([ROBOTS, localPath(response.redirect)].filter(path => path !== null))
  const common = { routes: compileRoutes([...unrouted, ...ignore.routes], router), isIgnoredIp: createClientCheck(ignore.ips, log), asksUser: ignore.request !== undefined, bypass, router, unrouted }

  const opened = await openStore(settings.store, settings.sites, log)
  const pages = await createPages(fastify, response.template)
  const decided = createDecided()
  const running = createRunning(request => places.of(request), routes, decided)
  const sites = new Map<string, Site>()
  for (const [index, name] of settings.sites.entries()) {
    sites.set(name, await createSite({ name, index, settings, common, opened, pages, log, routes, running }))
  }

  const places = createPlaces(sites, settings, common)
  const hook = createHook({ places, routes, decided, running, settings })
  const servers = createServers(opened.store, [...sites.values()], log)
  for (const site of sites.values()) site.onGate(update)
  if (settings.closeStreams !== null) closeStreams([...sites.values()], settings.closeStreams, hook.explain)
  const own = siteOf === null ? settings.site : null

  fastify.decorate('maintenance', createMaintenance(sites, own, hook.explain, servers, log))
  fastify.decorate(BYPASS_PATH, bypass?.path ?? null)
  fastify.decorateRequest('maintenance', { getter (this: FastifyRequest) { return hook.decisionOf(this) } })
  fastify.addHook('onRequest', hook.onRequest)
  if (bypass !== null) await addBypassRoutes(fastify, bypass.settings, bypass.guesses, places.of)
  fastify.addHook('onReady', async function checkWhatIsThereByNow () {
    routes.check()
    hook.update()
    warnOfNoLogin(settings, routes, log)
    await Promise.all([...sites.values()].map(site => site.checkTemplate()))
    await servers.start()
  })
  watchUpgradeListeners(fastify, log)

  fastify.addHook('preClose', async () => hook.close())
  const stopFollowing = settings.enabled === undefined ? await followStore(opened, [...sites.values()], log) : () => {}
  fastify.addHook('onClose', async () => {
    stopFollowing()
    await closeStore(opened, servers, log)
  })
  update()

  function update (): void {
    places.update()
    hook.update()
  }
}

/**
 * Maintenance mode for Fastify: register it, then close the site with `fastify.maintenance.set(true)`.
 * @throws FST_ERR_MAINTENANCE_OPTION while it is registered, if an option is invalid
 */
export const fastifyMaintenance: FastifyMaintenance = fp(maintenance, { fastify: '5.x || 6.x', name: 'fastify-maintenance' })
export default fastifyMaintenance

export type * from './types/index.ts'
