import type { MaintenanceStore, ServerStatus } from '../../types/index.ts'
import { show, StoreError } from '../errors.ts'
import { timeOf } from '../state/time.ts'
import { readList } from '../state/read-list.ts'
import { LOST_AFTER, parseEntry, silenceOf, siteOf, toStatus, type ServerEntry } from './entry.ts'

/** Can it say which servers there are? */
export const keepsServers = ({ heartbeat, heartbeats }: MaintenanceStore): boolean =>
  heartbeat !== undefined && heartbeats !== undefined

export const inOrder = <T extends ServerStatus>(servers: T[]): T[] =>
  servers.sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1))

/**
 * Reads the entries of all servers, the oldest first, goodbyes included; those that cannot be understood are left out.
 * What has not changed since the last call is not parsed again.
 * @throws FST_ERR_MAINTENANCE_STORE
 */
export function createEntryReader (store: MaintenanceStore): () => Promise<ServerEntry[]> {
  let parsed = new Map<string, ServerEntry | null>()
  return async function readEntries () {
    const texts = store.heartbeats === undefined ? [] : await readList(store.heartbeats())
    const odd = texts.filter(text => typeof text !== 'string')
    // a database driver that parses JSON would otherwise hide every server
    if (odd.length > 0) throw new StoreError(`heartbeats() returned ${show(odd[0])} in its list, expected text`)
    parsed = new Map(texts.map(text => [text, parsed.get(text) ?? parseEntry(text)]))
    return inOrder([...parsed.values()].filter(entry => entry !== null))
  }
}

/** Servers that have not said goodbye, as others are shown them. */
export function describeServers (entries: readonly ServerEntry[], now: number): ServerStatus[] {
  return entries.filter(({ left }) => !left).map(entry => toStatus(entry, silenceOf(entry, now) >= LOST_AFTER))
}

/**
 * Reads all servers that have not said goodbye, the oldest first; those that vanished are `lost`.
 * @throws FST_ERR_MAINTENANCE_STORE
 */
export async function readAllServers (store: MaintenanceStore): Promise<ServerStatus[]> {
  return describeServers(await createEntryReader(store)(), timeOf(store))
}

/** The same for one site. @throws FST_ERR_MAINTENANCE_STORE */
export async function readServers (store: MaintenanceStore, site: string): Promise<ServerStatus[]> {
  return (await readAllServers(store)).filter(server => siteOf(server, site) !== undefined)
}
