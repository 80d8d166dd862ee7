import type { MaintenanceStore } from '../../types/index.ts'
import { isUnreadable, messageOf, show, UnreadableError } from '../errors.ts'
import { isRevision } from '../util/revision.ts'
import { parseRecord, RECORD_MAX, type StateRecord } from './record.ts'
import { timeOf } from './time.ts'

/** What a read of the store found. */
export type Stored =
  | { readonly kind: 'record', readonly record: StateRecord }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unreadable', readonly reason: string, readonly text: string | null }

/**
 * @param parse of a caller that reads the same text again and again
 * @throws whatever the store throws when it cannot be reached
 */
export async function readStored (store: MaintenanceStore, site: string, parse = parseRecord): Promise<Stored> {
  let text: string | null = null
  try {
    const stored: unknown = await store.read(site)
    // a store made of a Map returns `undefined` for what was never written
    if (stored === null || stored === undefined) return { kind: 'missing' }
    if (typeof stored !== 'string') throw new UnreadableError(`the store returned ${show(stored)}, expected text`)
    text = stored
    return { kind: 'record', record: parse(text, timeOf(store)) }
  } catch (error) {
    if (!isUnreadable(error)) throw error
    return { kind: 'unreadable', reason: messageOf(error), text }
  }
}

export function storedRevision (stored: Stored, now: number): number {
  if (stored.kind === 'record') return stored.record.revision
  return stored.kind === 'unreadable' ? revisionOf(stored.text, now) : 0
}

/** The revision of a record that is unreadable otherwise; 0 if it cannot be read either. */
function revisionOf (text: string | null, now: number): number {
  try {
    if (text === null || text.length > RECORD_MAX) return 0
    const { revision } = JSON.parse(text)
    return isRevision(revision, now) ? revision : 0
  } catch {
    return 0
  }
}
