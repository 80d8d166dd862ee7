import type { MaintenanceStore } from '../../types/index.ts'
import { timeOf } from '../state/time.ts'
import { isDead } from '../util/process-liveness.ts'
import { goodbyeOf, GOODBYE_TTL, LOST_AFTER, SETTLES_WITHIN, silenceOf, type ServerEntry } from './entry.ts'

type Self = Pick<ServerEntry, 'id' | 'host' | 'space' | 'startedAt'>

/**
 * Says goodbye for servers whose process is known to be gone. What they were running may go on elsewhere for a while.
 */
export async function sayGoodbyeForDead (
  store: MaintenanceStore,
  entries: readonly ServerEntry[],
  self: Self
): Promise<void> {
  const now = timeOf(store)
  const dead = entries.filter(
    entry => !entry.left && silenceOf(entry, now) >= restOf(entry) && isKnownDead(entry, self)
  )
  await Promise.all(dead.map(entry => store.heartbeat?.(entry.id, goodbyeOf(entry), GOODBYE_TTL)))
}

const restOf = ({ running }: ServerEntry): number => running === 0 ? LOST_AFTER : SETTLES_WITHIN

function isKnownDead (entry: ServerEntry, self: Self): boolean {
  if (entry.space === null || self.space === null) return false
  if (entry.space === self.space) return isDead(entry.pid, entry.space)
  return hasRestarted(entry, self)
}

/** A container that was restarted, and a machine, keep their name; what ran there before is gone. */
const hasRestarted = (entry: ServerEntry, self: Self): boolean =>
  entry.host === self.host && [entry, self].every(({ space }) => space?.includes('/')) &&
  Date.parse(entry.seenAt) < Date.parse(self.startedAt)
