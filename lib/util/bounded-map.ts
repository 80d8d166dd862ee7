/** A `Map` whose size visitors cannot drive up. */
export interface BoundedMap<Key, Value> {
  get (key: Key): Value | undefined
  /** Makes room by dropping what was added first. */
  set (key: Key, value: Value): void
  delete (key: Key): void
}

export function createBoundedMap<Key, Value> (max: number): BoundedMap<Key, Value> {
  const map = new Map<Key, Value>()
  return {
    get: key => map.get(key),
    set (key, value) {
      if (map.size >= max && !map.has(key)) map.delete(map.keys().next().value as Key)
      map.set(ownCopy(key), value)
    },
    delete (key) { map.delete(key) }
  }
}

/** V8 cuts text out of a header as a view that keeps the whole header in memory. */
const ownCopy = <Key>(key: Key): Key => typeof key === 'string' ? Buffer.from(key).toString() as Key : key
