import type { MaintenanceStore, WriteOptions } from '../../types/index.ts'
import { ConflictError } from '../errors.ts'

/** State of this process only: gone with it, and unknown to other servers. */
export function createMemoryStore (): MaintenanceStore {
  const sites = new Map<string, { record: string, revision: number }>()

  async function write (site: string, record: string, { revision, expectedRevision }: WriteOptions): Promise<void> {
    const stored = sites.get(site)?.revision ?? 0
    if (expectedRevision !== undefined && expectedRevision !== stored) throw new ConflictError(stored, expectedRevision)
    sites.set(site, { record, revision })
  }

  return {
    read: async site => sites.get(site)?.record ?? null,
    write,
    readAll: async () => new Map([...sites].map(([site, { record }]) => [site, record])),
    watch () {},
    close () {}
  }
}
