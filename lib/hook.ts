import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import type { Answer } from './answer/answer.ts'
import { markPrivate } from './answer/mark-private.ts'
import { decide } from './decision.ts'
import type { InFlight } from './drain/in-flight.ts'
import type { Outcome } from './gate.ts'
import { createHold } from './hold-queue.ts'
import type { Settings } from './options.ts'
import type { RequestDecisions } from './request-decision.ts'
import type { Route, RouteConfigs } from './route-config.ts'
import type { SiteContext } from './site.ts'
import type { Sites } from './sites.ts'
import { CALLBACK_TIMEOUT, callInTime, createUserCheck } from './user-callbacks.ts'
import { giveUp, hasReplied, standBy, unwatchReply, watchReply } from './util/replied.ts'

export interface Hook {
  /** The one hook. While everything is open it makes one comparison, and keeps one reference. */
  onRequest (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void
  /** To be called when a site has opened or closed, and when all routes are known. */
  update (): void
  /** The state may have changed while this process was frozen: requests wait until it was read. */
  waitFor (read: Promise<unknown>): void
  /** The server closes: nothing is held any more. */
  close (): void
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
  // V8 keeps objects that have getters in a slow form, so their methods are read once
  const siteOf = sites.of
  const routeOf = routes.of
  const hold = createHold(holdSettings)
  const askUser = createUserCheck(ignore.request)
  let passesAll = false
  let reading: Promise<unknown> | null = null

  function onRequest (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if (passesAll) {
      inFlight.add(reply)
      return done()
    }
    const site = siteOf(request)
    const route = routeOf(request)
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
    if (outcome !== null) return carryOut(outcome, request, reply, done, site)
    watchReply(reply, () => blockAtOnce(request, reply, site))
    askUser(request, site.gate)
      .then(says =>
        proceed(request, reply, answerOf(site), () => {
          // the site may have changed in the meantime
          carryOut(decide(site.gate, request, route, says) as Outcome, request, reply, letIn(reply, done), site)
        })
      )
      .catch(error => fail(error, request, reply))
  }

  function carryOut (
    outcome: Outcome,
    request: FastifyRequest,
    reply: FastifyReply,
    done: HookHandlerDoneFunction,
    site: SiteContext
  ): void {
    decisions.set(request, outcome)
    if (outcome.decision.blocked) return holdOrBlock(outcome, request, reply, done, site)
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
    site: SiteContext
  ): void {
    if (!outcome.holds) return block(outcome, request, reply, site)
    watchReply(reply, () => blockAtOnce(request, reply, site))
    const after = (next: () => void) => () => proceed(request, reply, answerOf(site), next)
    const route = routeOf(request)
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
    callInTime(() => onBlocked(request, reply))
      .catch(error => request.log.error({ err: error }, 'maintenance: onBlocked failed'))
      .then(() => proceed(request, reply, answer, () => answer.send(request, reply)))
      .catch(error => fail(error, request, reply))
  }

  /** When `handlerTimeout` is over, nobody is asked any more. */
  function blockAtOnce (request: FastifyRequest, reply: FastifyReply, site: SiteContext): void {
    site.counts.blocked++
    answerOf(site).send(request, reply)
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

  return { onRequest, update, waitFor, close: hold.close }
}
