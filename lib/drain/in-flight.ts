import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Decided } from '../request-decision.ts'
import type { Place } from '../sites.ts'
import type { Routes } from '../route-config.ts'
import { isGone } from '../util/connection.ts'

/** The requests that were let in, and have not ended. */
export interface Running {
  /** Called for every request that is let in as `inactive` or `read`: a push, and now and then a sweep. */
  enter (reply: FastifyReply): void
  /** Plain requests of a site. */
  requests (site: string): FastifyReply[]
  /** Of these, those that the present state did not let in: they are older. */
  older (site: string): FastifyReply[]
  /** Upgraded connections and event streams of a site. */
  streams (site: string): FastifyReply[]
}

/** Swept when there are twice as many as the last sweep left, and this number more. */
const SLACK = 64

/** After a burst, a sweep must not wait for as many requests again: it follows after this time, ms. */
const SWEEP_AFTER = 1000

/**
 * A request whose client has hung up counts until its handler answers, but at most for this time, ms. Handlers that work
 * longer than that are not waited for.
 */
const ABANDONED_AFTER = 4000

/**
 * Keeps references and sweeps in batches: that is cheaper than a listener for each request, and right for every way in
 * which a request can end, where `onResponse` alone misses aborted and hijacked ones.
 */
export function createRunning (placeOf: (request: FastifyRequest) => Place, routes: Routes, decided: Decided): Running {
  // keeps its places when it is swept: a request allocates none
  const entered: (FastifyReply | null)[] = []
  let count = 0
  const abandoned = new WeakMap<FastifyReply, number>()
  let limit = SLACK
  let timer: NodeJS.Timeout | undefined

  function enter (reply: FastifyReply): void {
    entered[count++] = reply
    if (count >= limit) sweep()
  }

  function sweep (): void {
    let kept = 0
    for (let i = 0; i < count; i++) {
      const reply = entered[i] as FastifyReply
      entered[i] = null
      if (!hasEnded(reply)) entered[kept++] = reply
    }
    count = kept
    limit = 2 * kept + SLACK
    if (kept > SLACK) timer ??= setTimeout(sweepLater, SWEEP_AFTER).unref()
  }

  function sweepLater (): void {
    timer = undefined
    sweep()
    entered.length = Math.min(entered.length, limit)
  }

  function hasEnded (reply: FastifyReply): boolean {
    const { raw } = reply
    if (!isGone(reply)) return false
    return raw.headersSent || raw.writableEnded || isUpgraded(reply) || isAbandoned(reply)
  }

  function isAbandoned (reply: FastifyReply): boolean {
    const now = performance.now()
    const since = abandoned.get(reply)
    if (since === undefined) abandoned.set(reply, now)
    return since !== undefined && now - since >= ABANDONED_AFTER
  }

  function of (site: string): FastifyReply[] {
    sweep()
    return (entered.slice(0, count) as FastifyReply[]).filter(({ request }) => belongs(request, site) && routes.of(request).declared !== 'off')
  }

  /** A request for no known site may be one of any. */
  function belongs (request: FastifyRequest, site: string): boolean {
    const name = placeOf(request).gate.outcomes.inactive.decision.site
    return name === site || name === null
  }

  const requests = (site: string): FastifyReply[] => of(site).filter(reply => !isStream(reply))

  return {
    enter,
    requests,
    older: site => requests(site).filter(({ request }) => decided.of(request) !== placeOf(request).gate.outcomes.read.decision),
    streams: site => of(site).filter(isStream)
  }
}

/** May last for ever: an upgraded connection, or an answer that is an event stream. */
export function isStream (reply: FastifyReply): boolean {
  return isUpgraded(reply) || (reply.raw.headersSent && contentTypeOf(reply).startsWith('text/event-stream'))
}

/**
 * Where a plugin for WebSockets listens, Node marks every request that asks for an upgrade, also one that a plain handler
 * answers (Java's HttpClient asks for h2c each time): it is upgraded when the response was taken from Fastify.
 */
export const isUpgraded = ({ request, sent }: FastifyReply): boolean => (request.raw as { upgrade?: boolean }).upgrade === true && sent

function contentTypeOf (reply: FastifyReply & { raw: { _header?: unknown } }): string {
  const known = reply.getHeader('content-type')
  // what was given to `writeHead` alone stands nowhere else; if Node hides it one day, the stream counts as a request
  return String(known ?? /^content-type: *(.*)$/im.exec(String(reply.raw._header))?.[1])
}

/** By method and route, for people who look for what holds them up. */
export function byRoute (replies: readonly FastifyReply[]): Record<string, number> {
  const routes: Record<string, number> = {}
  for (const { request } of replies) {
    const name = `${request.method} ${request.routeOptions.url ?? '(no route)'}`
    routes[name] = (routes[name] ?? 0) + 1
  }
  return routes
}
