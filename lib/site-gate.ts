import { prepareAnswer, type Answer } from './answer/answer.ts'
import { variablesOf } from './answer/variables.ts'
import { renderJson } from './answer/custom-json.ts'
import type { Pages } from './answer/page.ts'
import type { Redirect } from './answer/redirect.ts'
import { createMessageChooser } from './answer/message.ts'
import { messageOf } from './errors.ts'
import { compileGate, type Gate } from './gate.ts'
import type { Settings } from './options.ts'
import { defaultText } from './state/message.ts'
import type { StoredWindow } from './state/record.ts'
import { toUpcoming } from './state/window.ts'
import type { Log } from './util/log.ts'
import { compileWindow, type CommonRules, type WindowRules } from './window-rules.ts'

/** The state from which a gate is compiled. */
export interface GateState {
  /** The strictest first. */
  readonly active: readonly StoredWindow[]
  readonly ahead: readonly StoredWindow[]
  readonly epoch: number
}

export interface GateCompiler {
  compile (state: GateState): Promise<Gate>
  /**
   * Renders the application's own page and JSON as they would be for this window.
   * @throws FST_ERR_MAINTENANCE_TEMPLATE
   */
  checkTemplate (window: StoredWindow | null): Promise<void>
}

export interface GateCompilerParts {
  readonly site: string
  readonly settings: Settings
  readonly common: CommonRules
  readonly pages: Pages
  readonly redirect: Redirect | null
  readonly log: Log
  /** ms */
  readonly clock: () => number
}

/** Compiles the gates of one site. The rules and pages of a window that has not changed are used again. */
export async function createGateCompiler ({
  site,
  settings,
  common,
  pages,
  redirect,
  log,
  clock
}: GateCompilerParts): Promise<GateCompiler> {
  const { ignore, response } = settings
  const openAnswer = await prepare(null)
  let compiled = new Map<string, WindowRules>()

  async function prepare (window: StoredWindow | null): Promise<Answer> {
    const answer = await prepareAnswer({ site, window, response, pages, redirect, log, clock })
    answer.ready.catch(error =>
      log.error(
        { err: error },
        `maintenance: the template of site '${site}' failed, serving the bundled page: ${messageOf(error)}`
      )
    )
    return answer
  }

  async function rulesOf (window: StoredWindow): Promise<WindowRules> {
    return compiled.get(keyOf(window)) ?? compileWindow(window, common, await prepare(window), clock)
  }

  return {
    async compile ({ active, ahead, epoch }) {
      const windows = await Promise.all(active.map(rulesOf))
      compiled = new Map(active.map((window, i) => [keyOf(window), windows[i] as WindowRules]))
      const upcoming = ahead[0] === undefined ? null : toUpcoming(ahead[0])
      return compileGate({ site, windows, upcoming, epoch, asksUser: ignore.request !== undefined, answer: openAnswer })
    },
    async checkTemplate (window) {
      const { json } = response
      if (json !== undefined) {
        for (const text of createMessageChooser(window?.message ?? null).all) {
          renderJson(json, variablesOf(site, window, text, response, clock()))
        }
      }
      // a template whose data depend on the request cannot be tried without one
      if (pages.custom === null || typeof response.data === 'function') return
      const message = defaultText(window?.message ?? null)
      await pages.custom({ ...response.data, ...variablesOf(site, window, message, response, clock()) })
    }
  }
}

/** The renewal of a lease changes nothing for visitors. */
const keyOf = (window: StoredWindow): string => JSON.stringify({ ...window, lease: null })
