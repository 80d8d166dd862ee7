import type { FastifyMaintenanceOptions, MaintenanceStore, StoreStatus } from '../../types/index.ts'
import { createFileStore } from './file.ts'
import { createMemoryStore } from './memory.ts'

export interface OpenedStore {
  readonly kind: StoreStatus['kind']
  readonly store: MaintenanceStore
  /** How often the synchroniser reads without being asked to, ms; `null`: nobody else writes. */
  readonly pollInterval: number | null
}

/** Opens the store that the option `store` names. */
export function openStore (option: NonNullable<FastifyMaintenanceOptions['store']>): OpenedStore {
  if (option === 'memory') return { kind: 'memory', store: createMemoryStore(), pollInterval: null }
  if ('file' in option) return { kind: 'file', store: createFileStore(option.file), pollInterval: 1000 }
  return { kind: 'custom', store: option, pollInterval: 5000 }
}
