import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import type { Decision, Reason } from '../types/index.ts'
import type { Answer } from './answer/answer.ts'
import { markPrivate } from './answer/mark-private.ts'
import type { Decided } from './request-decision.ts'
import { decide } from './decision.ts'
import type { Gate } from './gate.ts'
import { createHold } from './hold-queue.ts'
import type { Settings } from './options.ts'
import type { Place, Places } from './sites.ts'
import type { Route, Routes } from './route-config.ts'
import type { Running } from './drain/in-flight.ts'
import { giveUp, hasReplied, standBy, unwatchReply, watchReply } from './util/replied.ts'
import { withTimeout } from './util/timeout.ts'

/** How long `ignore.request` and `onBlocked` may take, ms; then the request is blocked. An answer that was begun may take as long. */
const CALLBACK_TIMEOUT = 3000

export interface Hook {
  /** The one hook. While everything is open it makes one comparison, and keeps one reference. */
  onRequest (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void
  /** What was decided when the request arrived. */
  decisionOf (request: FastifyRequest): Decision
  /** What would be decided now, `ignore.request` left out. */
  explain (request: FastifyRequest): Decision
  /** To be called whenever a site opened or closed, and when all routes are known. */
  update (): void
  /** Nobody is held any longer. */
  close (): void
}

/** Whatever it does, the request is answered: by it, or by us. */
async function callOnBlocked (onBlocked: NonNullable<Settings['onBlocked']>, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  try {
    await withTimeout(Promise.resolve(onBlocked(request, reply)), CALLBACK_TIMEOUT)
  } catch (error) {
    request.log.error({ err: error }, 'maintenance: onBlocked failed')
  }
}

const isHeld = ({ gate }: Place): boolean => gate.active && gate.holds

/** Asked after every wait: if somebody else has begun to answer, nothing happens but that the client gets an answer in time. */
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

export interface HookParts {
  readonly places: Places
  readonly routes: Routes
  readonly decided: Decided
  readonly running: Running
  readonly settings: Settings
}

export function createHook ({ places, routes, decided, running, settings: { ignore, onBlocked, hold: holdOptions } }: HookParts): Hook {
  const hold = createHold(holdOptions)
  let passesAll = false
  let complained: Gate | undefined

  function onRequest (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if (passesAll) {
      running.enter(reply)
      return done()
    }
    decideOn(request, reply, done, places.of(request), routes.of(request))
  }

  // arguments, and not one object of them: a request that is let through allocates none
  function decideOn (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction, place: Place, route: Route): void {
    const reason = decide(place.gate, request, route)
    if (reason !== null) return carryOut(reason, request, reply, done, place, route)
    watchReply(reply, () => refuseAtOnce(request, reply, place))
    askUser(request, place).then(says => proceed(request, reply, place.gate.answer, () => {
      // asked again of the gate that stands now: the site may have opened meanwhile
      carryOut(decide(place.gate, request, route, says) as Reason, request, reply, letIn(reply, done), place, route)
    })).catch(error => fail(error, request, reply))
  }

  function carryOut (reason: Reason, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction, place: Place, route: Route): void {
    const { decision, counted, waitedFor, seen } = place.gate.outcomes[reason]
    decided.keep(request, decision)
    if (decision.blocked) return holdOrRefuse(reason, request, reply, done, place, route)
    if (counted) place.counts.ignored++
    if (waitedFor) running.enter(reply)
    if (seen !== null) markPrivate(reply, seen)
    done()
  }

  function holdOrRefuse (reason: Reason, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction, place: Place, route: Route): void {
    if (reason !== 'active' || !isHeld(place)) return refuse(request, reply, place)
    watchReply(reply, () => refuseAtOnce(request, reply, place))
    const after = (next: () => void) => () => proceed(request, reply, place.gate.answer, next)
    const hasPlace = hold.add(reply, place.counts, () => isHeld(place),
      after(() => decideOn(request, reply, letIn(reply, done), place, route)), after(() => refuse(request, reply, place)))
    if (!hasPlace) refuse(request, reply, place)
  }

  function refuse (request: FastifyRequest, reply: FastifyReply, place: Place): void {
    const { gate, counts } = place
    counts.blocked++
    request.log.debug({ maintenance: decided.of(request) }, 'maintenance: request refused')
    if (onBlocked === undefined) return gate.answer.send(request, reply)
    watchReply(reply, () => gate.answer.send(request, reply))
    callOnBlocked(onBlocked, request, reply)
      .then(() => proceed(request, reply, gate.answer, () => gate.answer.send(request, reply)))
      .catch(error => fail(error, request, reply))
  }

  /** Where `handlerTimeout` is over: nobody is asked any more. */
  function refuseAtOnce (request: FastifyRequest, reply: FastifyReply, { gate, counts }: Place): void {
    counts.blocked++
    gate.answer.send(request, reply)
  }

  /** Closed, never a 500, never open: whatever goes wrong here is a no. */
  async function askUser (request: FastifyRequest, place: Place): Promise<boolean> {
    try {
      return await withTimeout(Promise.resolve(ignore.request?.(request)), CALLBACK_TIMEOUT) === true
    } catch (error) {
      if (complained !== place.gate) {
        complained = place.gate
        request.log.error({ err: error }, 'maintenance: ignore.request failed, the request is refused (told once for each change of state)')
      }
      return false
    }
  }

  function explain (request: FastifyRequest): Decision {
    const { gate } = places.of(request)
    return gate.outcomes[decide(gate, request, routes.of(request), false) as Reason].decision
  }

  function decisionOf (request: FastifyRequest): Decision {
    return decided.of(request) ?? whileOpen(request, routes.of(request))
  }

  function whileOpen (request: FastifyRequest, route: Route): Decision {
    const { gate } = places.of(request)
    const { site, upcoming } = gate.outcomes.inactive.decision
    return Object.freeze({ blocked: false, reason: route.declared === 'off' ? 'route-off' : 'inactive', site, active: false, mode: null, upcoming })
  }

  function update (): void {
    passesAll = places.allOpen && !routes.mayBeOn
    hold.update()
  }

  return { onRequest, decisionOf, explain, update, close: hold.close }
}
