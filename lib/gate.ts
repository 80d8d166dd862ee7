import type { FastifyRequest } from 'fastify'
import type { Decision, Mode, Reason, UpcomingWindow } from '../types/index.ts'
import type { Answer } from './answer/answer.ts'
import type { Marks } from './answer/mark-private.ts'
import { shownMode } from './answer/texts.ts'
import type { Pass } from './state/secret.ts'
import { isBlocking, type Questions, type WindowQuestions } from './decision.ts'
import type { Route } from './route-config.ts'
import { asksForUpgrade, headerOf } from './util/header.ts'
import type { WindowRules } from './window-rules.ts'

/** A site's state and the options, compiled: what the hook asks. Each new state makes a new one. */
export interface Gate extends Questions<FastifyRequest, Route, Outcome> {
  /** Is any window active? */
  readonly active: boolean
  /** Does every active window let reads through? */
  readonly readOnly: boolean
  readonly windows: readonly GateWindow[]
  /** The bypass secrets of the active windows. */
  readonly passes: readonly Pass[]
  readonly upcoming: UpcomingWindow | null
  /** How often the site was tightened before: requests of an earlier epoch are from before. */
  readonly epoch: number
}

export type GateWindow = WindowRules & WindowQuestions<FastifyRequest, Route, Outcome>

/** A decision and what follows from it. Made beforehand, so that a request allocates none. */
export interface Outcome {
  readonly decision: Decision
  readonly reason: Reason
  readonly rank: number
  /** What a blocked request gets. */
  readonly answer: Answer
  /** Blocked, but for a moment: the request waits for the site to open. */
  readonly holds: boolean
  /** Let through although the site is closed. */
  readonly countsAsIgnored: boolean
  /** In flight until it ends: a drain waits for it. */
  readonly tracked: boolean
  /**
   * Headers of a response that shows the inside of a closed site and must not be cached; `null`: cacheable as usual.
   */
  readonly marks: Marks | null
  readonly epoch: number
}

export interface GateParts {
  /** `null`: the requests that belong to no known site. */
  readonly site: string | null
  /** The active windows, the strictest first. */
  readonly windows: readonly WindowRules[]
  readonly upcoming: UpcomingWindow | null
  readonly epoch: number
  readonly asksUser: boolean
  /** For routes that are always blocked, also while the site is open. */
  readonly answer: Answer
}

/** From the least to the most telling: see `Ranked`. Rows 1 and 2 and the blocking ones are never compared. */
const REASONS: readonly Reason[] = [
  'inactive',
  'read',
  'ignored-route',
  'preflight',
  'ignored-request',
  'bypass',
  'ignored-ip',
  'route-off',
  'route-on',
  'active'
]
const PRIVATE: readonly Reason[] = ['ignored-ip', 'bypass', 'ignored-request']
const TRACKED: readonly Reason[] = ['inactive', 'read']
const NOT_COUNTED: readonly Reason[] = ['inactive', 'read', 'route-off']

const SAFE_METHODS = ['GET', 'HEAD', 'OPTIONS']

export function compileGate ({ site, windows, upcoming, epoch, asksUser, answer }: GateParts): Gate {
  const active = windows.length > 0
  const passes = windows.flatMap(({ pass }) => pass ?? [])
  const strictest = windows[0]?.mode ?? null
  const outcomesOf = (window: string | null, mode: Mode | null, answer: Answer): Gate['outcomes'] =>
    compileOutcomes({ site, active, mode, upcoming }, window, answer, epoch)

  return {
    active,
    readOnly: active && windows.every(window => window.readOnly),
    windows: windows.map(window => ({
      ...window,
      isBypassed: request => window.hasPass(request, passes),
      outcomes: outcomesOf(window.id, window.mode, window.answer)
    })),
    passes,
    outcomes: outcomesOf(null, strictest, windows[0]?.answer ?? answer),
    upcoming,
    epoch,
    asksUser,
    isPreflight ({ raw }, route) {
      return (
        route.optionsOnly &&
        headerOf(raw, 'origin') !== undefined &&
        headerOf(raw, 'access-control-request-method') !== undefined
      )
    },
    // an upgrade begins with a GET, but what is said on the connection afterwards may write
    reads ({ method, raw }, { declared }) {
      return declared === 'read' || (declared !== 'write' && SAFE_METHODS.includes(method) && !asksForUpgrade(raw))
    }
  }
}

function compileOutcomes (
  state: Pick<Decision, 'site' | 'active' | 'mode' | 'upcoming'>, window: string | null, answer: Answer, epoch: number
): Gate['outcomes'] {
  return Object.fromEntries(REASONS.map((reason, rank): [Reason, Outcome] => {
    const blocked = isBlocking(reason)
    return [reason, {
      decision: Object.freeze({ blocked, reason, ...state, window: reason === 'active' ? window : null }),
      reason,
      rank,
      answer,
      holds: reason === 'active' && state.mode === 'hold',
      countsAsIgnored: state.active && !blocked && !NOT_COUNTED.includes(reason),
      tracked: TRACKED.includes(reason),
      marks: PRIVATE.includes(reason) ? { mode: shownMode(state.mode ?? 'full'), pass: reason } : null,
      epoch
    }]
  })) as Gate['outcomes']
}
