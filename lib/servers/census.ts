import type { ServerStatus } from '../../types/index.ts'
import { HEARTBEAT_INTERVAL, LOST_AFTER, SETTLES_WITHIN, silenceOf, toStatus, type ServerEntry } from './entry.ts'

/**
 * Every live server sends a heartbeat within this time, even if its clock is wrong or the store has lost its entry. ms
 */
const WATCHED_AFTER = 1.5 * HEARTBEAT_INTERVAL

/** A server that has been seen. */
interface Sighting {
  readonly entry: ServerEntry
  /** When its last word was noticed, and how old it was, ms. */
  readonly at: number
  readonly age: number
}

/** Where a server stands. */
export interface Census {
  /** Those that have been heard of lately, and those that are only late. */
  readonly present: readonly ServerStatus[]
  readonly lost: readonly ServerEntry[]
  /** Those that are lost, but closed by their fence; nothing that they were running can be running any more. */
  readonly fenced: readonly ServerStatus[]
  /** How many have been seen, without those that had said goodbye before. */
  readonly known: number
  /** Servers that the store has lost may be missing. */
  readonly isIncomplete: boolean
  /** Has it been watched for long enough to be sure of those that are lost? */
  readonly isSure: boolean
}

/**
 * Remembers every server that is seen during a wait: one that is no longer listed, and has not said goodbye, has
 * vanished.
 * @param now the time of the store, ms
 */
export function createCensus (now: () => number): (entries: readonly ServerEntry[]) => Census {
  const began = performance.now()
  const sightings = new Map<string, Sighting>()
  const known = new Set<string>()

  function see (entry: ServerEntry): void {
    const last = sightings.get(entry.id)
    if (last?.entry.seenAt === entry.seenAt) sightings.set(entry.id, { ...last, entry })
    else {
      sightings.set(entry.id, { entry, at: performance.now(), age: last === undefined ? silenceOf(entry, now()) : 0 })
    }
    if (!entry.left) known.add(entry.id)
  }

  return function count (entries) {
    entries.forEach(see)
    const silenceOf = ({ at, age }: Sighting): number => performance.now() - at + age
    const here = [...sightings.values()].filter(({ entry }) => !entry.left)
    const isLost = (sighting: Sighting): boolean => silenceOf(sighting) >= LOST_AFTER
    const isFenced = ({ entry: { fence } }: Sighting): boolean => fence !== null
    const hasSettled = (sighting: Sighting): boolean =>
      silenceOf(sighting) >= Number(sighting.entry.fence) + SETTLES_WITHIN
    const silent = here.filter(isLost)
    return {
      present: here
        .filter(sighting => !isLost(sighting) || (isFenced(sighting) && !hasSettled(sighting)))
        .map(sighting => toStatus(sighting.entry, isLost(sighting))),
      lost: silent.filter(sighting => !isFenced(sighting)).map(({ entry }) => entry),
      fenced: silent
        .filter(sighting => isFenced(sighting) && hasSettled(sighting))
        .map(({ entry }) => toStatus(entry, true)),
      known: known.size,
      isIncomplete: here.some(
        ({ entry: { relistedAt } }) => relistedAt !== null && now() - Date.parse(relistedAt) < WATCHED_AFTER
      ),
      isSure: performance.now() - began >= WATCHED_AFTER
    }
  }
}
