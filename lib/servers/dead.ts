import type { MaintenanceStore } from '../../types/index.ts'
import { timeOf } from '../state/time.ts'
import { isDead } from '../util/process-liveness.ts'
import { goodbyeOf, GOODBYE_TTL, SETTLES_WITHIN, silenceOf, type ServerEntry } from './entry.ts'

type Self = Pick<ServerEntry, 'id' | 'host' | 'space' | 'startedAt'>

/**
 * Says goodbye for servers whose process has been gone for a while. A statement in a database may go on without its
 * process, and it may have begun after the last heartbeat, so a server that was idle then gets no goodbye earlier.
 */
export async function sayGoodbyeForDead (
  store: MaintenanceStore,
  entries: readonly ServerEntry[],
  self: Self
): Promise<void> {
  const now = timeOf(store)
  const dead = entries.filter(
    entry => !entry.left && silenceOf(entry, now) >= SETTLES_WITHIN && isKnownDead(entry, self)
  )
  await Promise.all(dead.map(entry => store.heartbeat?.(entry.id, goodbyeOf(entry), GOODBYE_TTL)))
}

function isKnownDead (entry: ServerEntry, self: Self): boolean {
  if (entry.space === null || self.space === null) return false
  if (entry.space === self.space) return isDead(entry.pid, entry.space)
  return hasRestarted(entry, self)
}

/** A container that was restarted, and a machine, keep their name; what ran there before is gone. */
const hasRestarted = (entry: ServerEntry, self: Self): boolean =>
  entry.host === self.host && [entry, self].every(({ space }) => space?.includes('/')) &&
  Date.parse(entry.seenAt) < Date.parse(self.startedAt)
