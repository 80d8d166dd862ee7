import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import type { RequestMaintenance, Decision } from '../types/index.ts'
import type { Answer } from './answer/answer.ts'
import { markPrivate } from './answer/mark-private.ts'
import { decide } from './decision.ts'
import type { InFlight } from './drain/in-flight.ts'
import type { Gate, Outcome } from './gate.ts'
import { createHold } from './hold-queue.ts'
import type { Settings } from './options.ts'
import type { RequestDecisions } from './request-decision.ts'
import type { Route, RouteConfigs } from './route-config.ts'
import type { SiteContext, Sites } from './sites.ts'
import { createRefusal } from './refuse.ts'
import { giveUp, hasReplied, standBy, unwatchReply, watchReply } from './util/replied.ts'
import { withTimeout } from './util/timeout.ts'

/**
 * How long `ignore.request` and `onBlocked` may take, ms; then the request is blocked. So may an answer that has begun.
 */
const CALLBACK_TIMEOUT = 3000

export interface Hook {
  /** The one hook. While everything is open it makes one comparison, and keeps one reference. */
  onRequest (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void
  /** What was decided when the request arrived, and a way to refuse a write. */
  maintenanceOf (request: FastifyRequest): RequestMaintenance
  /** What would be decided now, without `ignore.request`. */
  explain (request: FastifyRequest): Decision
  /** To be called when a site has opened or closed, and when all routes are known. */
  update (): void
  /** The state may have changed while this process was frozen: requests wait until it was read. */
  waitFor (read: Promise<unknown>): void
  /** The server closes: nothing is held any more. */
  close (): void
}

/** Whatever it does, the request is answered: by it, or by us. */
async function callOnBlocked (
  onBlocked: NonNullable<Settings['onBlocked']>,
  request: FastifyRequest,
  reply: FastifyReply
): Promise<void> {
  try {
    await withTimeout(Promise.resolve(onBlocked(request, reply)), CALLBACK_TIMEOUT)
  } catch (error) {
    request.log.error({ err: error }, 'maintenance: onBlocked failed')
  }
}

/**
 * To be called after every wait. If somebody else has begun to answer, we only see to it that the client gets an answer
 * in time.
 */
function proceed (request: FastifyRequest, reply: FastifyReply, answer: Answer, next: () => void): void {
  if (!hasReplied(reply)) return next()
  standBy(reply, CALLBACK_TIMEOUT, () => answer.send(request, reply))
}

/** `done`, for a request that had to wait. */
const letIn = (reply: FastifyReply, done: () => void) => (): void => {
  unwatchReply(reply)
  done()
}

function fail (error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  giveUp(reply)
  request.log.error({ err: error }, 'maintenance: a request could not be decided on')
}

const answerOf = ({ gate }: SiteContext): Answer => gate.outcomes['route-on'].answer

/** Each request asks the clock: a process that was stopped may be woken by it. */
export function behindFence (fence: { check (): boolean }, onRequest: Hook['onRequest']): Hook['onRequest'] {
  return (request, reply, done) => {
    fence.check()
    onRequest(request, reply, done)
  }
}

export interface HookParts {
  readonly sites: Sites
  readonly routes: RouteConfigs
  readonly decisions: RequestDecisions
  readonly inFlight: InFlight
  readonly settings: Settings
}

export function createHook ({
  sites,
  routes,
  decisions,
  inFlight,
  settings: { ignore, onBlocked, hold: holdSettings }
}: HookParts): Hook {
  const hold = createHold(holdSettings)
  const refuseWrite = createRefusal({ sites, routes, decisions })
  let passesAll = false
  let reading: Promise<unknown> | null = null
  let reported: Gate | undefined

  function onRequest (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if (passesAll) {
      inFlight.add(reply)
      return done()
    }
    const site = sites.of(request)
    const route = routes.of(request)
    if (reading === null || route.declared === 'off') return decideOn(request, reply, done, site, route)
    watchReply(reply, () => blockAtOnce(request, reply, site))
    reading
      .then(() =>
        proceed(request, reply, answerOf(site), () => decideOn(request, reply, letIn(reply, done), site, route))
      )
      .catch(error => fail(error, request, reply))
  }

  // arguments, and not one object of them: a request that is let through allocates none
  function decideOn (
    request: FastifyRequest,
    reply: FastifyReply,
    done: HookHandlerDoneFunction,
    site: SiteContext,
    route: Route
  ): void {
    const outcome = decide(site.gate, request, route)
    if (outcome !== null) return carryOut(outcome, request, reply, done, site, route)
    watchReply(reply, () => blockAtOnce(request, reply, site))
    askUser(request, site)
      .then(says =>
        proceed(request, reply, answerOf(site), () => {
          // the site may have changed in the meantime
          carryOut(decide(site.gate, request, route, says) as Outcome, request, reply, letIn(reply, done), site, route)
        })
      )
      .catch(error => fail(error, request, reply))
  }

  function carryOut (
    outcome: Outcome,
    request: FastifyRequest,
    reply: FastifyReply,
    done: HookHandlerDoneFunction,
    site: SiteContext,
    route: Route
  ): void {
    decisions.set(request, outcome)
    if (outcome.decision.blocked) return holdOrBlock(outcome, request, reply, done, site, route)
    if (outcome.countsAsIgnored) site.counts.ignored++
    if (outcome.tracked) inFlight.add(reply)
    if (outcome.marks !== null) markPrivate(reply, outcome.marks)
    done()
  }

  function holdOrBlock (
    outcome: Outcome,
    request: FastifyRequest,
    reply: FastifyReply,
    done: HookHandlerDoneFunction,
    site: SiteContext,
    route: Route
  ): void {
    if (!outcome.holds) return block(outcome, request, reply, site)
    watchReply(reply, () => blockAtOnce(request, reply, site))
    const after = (next: () => void) => () => proceed(request, reply, answerOf(site), next)
    const isHeld = (): boolean => decide(site.gate, request, route, false)?.holds === true
    const hasPlace = hold.add(
      reply,
      site.counts,
      isHeld,
      after(() => decideOn(request, reply, letIn(reply, done), site, route)),
      after(() => block(outcome, request, reply, site))
    )
    if (!hasPlace) block(outcome, request, reply, site)
  }

  function block (
    { answer, decision }: Outcome,
    request: FastifyRequest,
    reply: FastifyReply,
    { counts }: SiteContext
  ): void {
    counts.blocked++
    request.log.debug({ maintenance: decision }, 'maintenance: request blocked')
    if (onBlocked === undefined) return answer.send(request, reply)
    watchReply(reply, () => answer.send(request, reply))
    callOnBlocked(onBlocked, request, reply)
      .then(() => proceed(request, reply, answer, () => answer.send(request, reply)))
      .catch(error => fail(error, request, reply))
  }

  /** When `handlerTimeout` is over, nobody is asked any more. */
  function blockAtOnce (request: FastifyRequest, reply: FastifyReply, site: SiteContext): void {
    site.counts.blocked++
    answerOf(site).send(request, reply)
  }

  /** Fails closed: an error counts as a no, never as a 500. */
  async function askUser (request: FastifyRequest, { gate }: SiteContext): Promise<boolean> {
    try {
      return (await withTimeout(Promise.resolve(ignore.request?.(request)), CALLBACK_TIMEOUT)) === true
    } catch (error) {
      if (reported !== gate) {
        request.log.error(
          { err: error },
          'maintenance: ignore.request failed, the request is blocked (logged once per state change)'
        )
      }
      reported = gate
      return false
    }
  }

  function explain (request: FastifyRequest): Decision {
    return (decide(sites.of(request).gate, request, routes.of(request), false) as Outcome).decision
  }

  function decisionOf (request: FastifyRequest): Decision {
    return decisions.get(request)?.decision ?? whileOpen(request, routes.of(request))
  }

  function maintenanceOf (request: FastifyRequest): RequestMaintenance {
    const refuse = (): void => refuseWrite(request)
    // not enumerable: logs and responses show what was decided
    return Object.freeze(
      Object.defineProperty({ ...decisionOf(request) }, 'refuse', { value: refuse })
    ) as RequestMaintenance
  }

  function whileOpen (request: FastifyRequest, route: Route): Decision {
    const { site, upcoming } = sites.of(request).gate.outcomes.inactive.decision
    const reason = route.declared === 'off' ? 'route-off' : 'inactive'
    return Object.freeze({ blocked: false, reason, site, active: false, mode: null, window: null, upcoming })
  }

  function update (): void {
    passesAll = reading === null && sites.allOpen && !routes.mayBeOn
    hold.update()
  }

  function waitFor (read: Promise<unknown>): void {
    const settled = read
      .catch(() => {})
      .then(() => {
        if (reading !== settled) return
        reading = null
        update()
      })
    reading = settled
    update()
  }

  return { onRequest, maintenanceOf, explain, update, waitFor, close: hold.close }
}
