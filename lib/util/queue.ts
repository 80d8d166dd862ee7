/** Does one piece of work after the other, in the order of the calls. One that fails does not stop those behind it. */
export function createQueue (): <T>(work: () => T | Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return function inTurn<T> (work: () => T | Promise<T>): Promise<T> {
    const done = last.then(work)
    last = done.catch(() => {})
    return done
  }
}

/**
 * At most one run at a time. Calls during a run share the one that follows it, so every caller gets a run that began
 * after the call.
 */
export function createSharedRun (work: () => Promise<void>): () => Promise<void> {
  const inTurn = createQueue()
  let next: Promise<void> | null = null
  return function run () {
    next ??= inTurn(() => {
      next = null
      return work()
    })
    return next
  }
}
