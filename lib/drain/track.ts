import type { Log } from '../util/log.ts'

/** Work outside of requests that a drain waits for. */
export interface TrackedWork {
  readonly name: string
  /** The epoch of the site when it began. */
  readonly epoch: number
}

export interface Tracker {
  track<T> (work: Promise<T> | (() => T | Promise<T>), name: string): Promise<T>
  /** What is running. Work that began while the site was closed is not among it. */
  running (): TrackedWork[]
}

/** @param gate of the site, as it is now */
export function createTracker (site: string, gate: () => { readonly active: boolean, readonly epoch: number }, log: Log): Tracker {
  const works = new Set<TrackedWork>()
  let warned = false

  async function track<T> (work: Promise<T> | (() => T | Promise<T>), name: string): Promise<T> {
    const { active, epoch } = gate()
    const entry = { name, epoch }
    // a wait inside of the work would wait for itself
    if (active) warnOnce(name)
    else works.add(entry)
    try {
      return await (typeof work === 'function' ? work() : work)
    } finally {
      works.delete(entry)
    }
  }

  function warnOnce (name: string): void {
    if (!warned) log.info({ site }, `maintenance: '${name}' began while site '${site}' was closed, so no drain waits for it (logged once)`)
    warned = true
  }

  return { track, running: () => [...works] }
}
