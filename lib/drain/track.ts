import type { Log } from '../util/log.ts'
import { cut, show } from '../util/show.ts'

/** Work outside of requests that a drain waits for. */
export interface TrackedWork {
  readonly name: string
  /** The epoch of the site to which it belongs. */
  readonly epoch: number
}

export interface Tracker {
  track<T> (work: Promise<T> | (() => T | Promise<T>), name: string): Promise<T>
  /** What is running. Work of a closed site is not among it. */
  running (): TrackedWork[]
}

export interface TrackerParts {
  readonly site: string
  /** As it is now. */
  readonly gate: () => { readonly active: boolean, readonly epoch: number }
  /** Is a request running that was let through before this epoch? */
  readonly hasRequestsBefore: (epoch: number) => boolean
  readonly log: Log
}

export function createTracker ({ site, gate, hasRequestsBefore, log }: TrackerParts): Tracker {
  const works = new Set<TrackedWork>()
  let warned = false

  async function track<T> (work: Promise<T> | (() => T | Promise<T>), given: string): Promise<T> {
    const name = asName(given)
    const epoch = epochNow()
    const entry = { name, epoch: epoch ?? 0 }
    // a wait inside of the work would wait for itself
    if (epoch === null) warnOnce(name)
    else works.add(entry)
    try {
      return await (typeof work === 'function' ? work() : work)
    } finally {
      works.delete(entry)
    }
  }

  /**
   * While something from before is running, new work may come from it.
   * @returns `null`: it belongs to the closed site
   */
  function epochNow (): number | null {
    const { active, epoch } = gate()
    if (!active) return epoch
    const isDraining = [...works].some(work => work.epoch < epoch) || hasRequestsBefore(epoch)
    return isDraining ? epoch - 1 : null
  }

  function warnOnce (name: string): void {
    if (!warned) {
      log.info(
        { site },
        `maintenance: '${name}' began while site '${site}' was closed, so no drain waits for it (logged once)`
      )
    }
    warned = true
  }

  return { track, running: () => [...works] }
}

const NAME_MAX = 200

/** A name that cannot be used must neither stop the work nor keep this server from reporting to others. */
const asName = (given: unknown): string => cut(typeof given === 'string' ? given : show(given), NAME_MAX)
