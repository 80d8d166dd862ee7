/** Sites that one statement reads. */
const SIZE_MAX = 100

/** Reads that begin at the same time share a statement: a poll of many sites is one round trip. */
export function createBatch<T> (
  load: (keys: readonly string[]) => Promise<Map<string, T>>
): (key: string) => Promise<T | undefined> {
  let waiting: Set<string> | null = null
  let loading: Promise<Map<string, T>>

  return async function read (key) {
    if (waiting === null || waiting.size === SIZE_MAX) {
      const keys = (waiting = new Set())
      loading = Promise.resolve().then(() => {
        if (waiting === keys) waiting = null
        return load([...keys])
      })
    }
    waiting.add(key)
    return (await loading).get(key)
  }
}
