import type { FastifyReply } from 'fastify'
import type { HoldOptions } from '../types/index.ts'
import type { Counts } from './sites.ts'

/** So many are let go at once, and then the next after a pause: the site has just opened, and its caches are cold. */
const BATCH = 50
const PAUSE = 10

/** A request that waits. */
interface Waiting {
  /** Must it go on waiting? */
  readonly held: () => boolean
  /** Decides on it once more. */
  readonly again: () => void
  readonly refuse: () => void
  readonly leave: () => void
}

export interface Hold {
  /**
   * Keeps a request waiting.
   * @param counts where it is counted while it waits
   * @param again called when the state has changed
   * @param refuse called when the time is over
   * @returns false where no place is left
   */
  add (reply: FastifyReply, counts: Counts, held: () => boolean, again: () => void, refuse: () => void): boolean
  /** To be called when the state has changed. */
  update (): void
  /** Nobody waits any longer: the server closes. */
  close (): void
}

/** Short switches without a refusal: requests wait for the site to open, so many, and so long. */
export function createHold ({ max, timeout }: Readonly<Required<HoldOptions>>): Hold {
  const waiting = new Set<Waiting>()
  let releasing: NodeJS.Timeout | undefined

  function add (reply: FastifyReply, counts: Counts, held: () => boolean, again: () => void, refuse: () => void): boolean {
    if (waiting.size >= max) return false
    const timer = setTimeout(() => {
      leave()
      refuse()
    }, timeout)
    const entry: Waiting = { held, again, refuse, leave }
    function leave (): void {
      clearTimeout(timer)
      reply.raw.off('close', leave)
      waiting.delete(entry)
      counts.held--
    }
    // whoever hangs up makes place for another
    reply.raw.once('close', leave)
    waiting.add(entry)
    counts.held++
    return true
  }

  function update (): void {
    if (releasing === undefined) release()
  }

  /** In the order in which they came. */
  function release (): void {
    releasing = undefined
    const free = Array.from(waiting).filter(entry => !entry.held())
    for (const entry of free.slice(0, BATCH)) {
      entry.leave()
      entry.again()
    }
    if (free.length > BATCH) releasing = setTimeout(release, PAUSE)
  }

  function close (): void {
    clearTimeout(releasing)
    for (const entry of [...waiting]) {
      entry.leave()
      entry.refuse()
    }
  }

  return { add, update, close }
}
