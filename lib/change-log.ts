import type { ChangeListener, MaintenanceStatus } from '../types/index.ts'
import type { Log } from './util/log.ts'
import type { Settings } from './options.ts'
import type { Routes } from './route-config.ts'
import type { StateRecord } from './state/record.ts'
import { openingCommand, waysIn } from './exemptions.ts'

export interface Announcer {
  /**
   * Tells the log, in one line, and all listeners.
   * @param record that counts now
   * @param quietly listeners only
   */
  announce (now: MaintenanceStatus, previous: MaintenanceStatus, record: StateRecord, quietly: boolean): void
  /** Returns the way to remove it. */
  listen (listener: ChangeListener): () => void
}

export function createAnnouncer (name: string, settings: Settings, routes: Routes, log: Log): Announcer {
  const listeners = new Set<ChangeListener>(settings.onChange === undefined ? [] : [settings.onChange])

  function writeLog (now: MaintenanceStatus, previous: MaintenanceStatus, record: StateRecord): void {
    const { active, mode, startsAt, endsAt, by, revision, source } = now
    const closes = active && !previous.active
    const ways = closes ? waysIn(settings, routes, record) : []
    log.info({ maintenance: { site: name, active, mode, startsAt, endsAt, by, revision, source } },
      `maintenance: site '${name}' ${inWords(now, previous)}${ways.length === 0 ? '' : `; exempt: ${ways.join(', ')}`}`)
    if (closes && ways.length === 0) log.info(`maintenance: everyone is blocked from site '${name}'. Reopen with: ${openingCommand(settings, name)}`)
  }

  async function call (listener: ChangeListener, now: MaintenanceStatus, previous: MaintenanceStatus): Promise<void> {
    try {
      await listener(now, previous)
    } catch (error) {
      log.error({ err: error }, 'maintenance: an onChange listener failed')
    }
  }

  return {
    announce (now, previous, record, quietly) {
      if (!quietly) writeLog(now, previous, record)
      for (const listener of listeners) call(listener, now, previous)
    },
    listen (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}

function inWords (now: MaintenanceStatus, previous: MaintenanceStatus): string {
  if (now.source === 'unreadable') return 'is closed: its stored state is corrupt; set it again to repair it'
  if (now.active) return `${previous.active ? 'stays' : 'is now'} closed (${now.mode})${now.endsAt === null ? '' : `, until ${now.endsAt}`}`
  if (now.on && now.upcoming?.startsAt === now.startsAt) return `is open and closes at ${now.startsAt}`
  return previous.active ? 'is open again' : 'stays open'
}
