import { randomUUID } from 'node:crypto'
import type { MaintenanceChange, RunOptions } from '../../types/index.ts'
import type { Log } from '../util/log.ts'
import { ChangeError, messageOf, show } from '../errors.ts'
import { integer } from '../util/validate.ts'
import { changeOf, checkChange, type CheckedChange } from './change.ts'
import type { Run, StateRecord } from './record.ts'

/** A site as far as a run needs it. */
export interface RunSite {
  readonly name: string
  /** Writes what `next` makes of the record that stands; `null`: leave it. */
  update (next: (record: StateRecord, now: number) => CheckedChange | null, quiet?: boolean): Promise<void>
}

/** A lease is renewed so often before it ends. */
const RENEWALS = 3

const lease = integer(1000, 86_400_000, ' (milliseconds)')

/**
 * Closes the site, does the work, opens the site again. Every run stands in the record by its id: the last one
 * that ends opens the site, on whichever server, and a record in which it does not stand is somebody else's.
 * @param ready waited for before the work begins; where it rejects, the work is not begun
 */
export async function run<T> (site: RunSite, work: () => T | Promise<T>, options: MaintenanceChange & RunOptions = {}, log: Log, ready: () => Promise<void>): Promise<T> {
  if (typeof work !== 'function') throw new ChangeError('the work', show(work), 'a function')
  const { lease: length, ...change } = options
  if (length !== undefined && !lease.test(length)) throw new ChangeError('lease', show(length), lease.expected)
  if (length !== undefined && change.endsAt !== undefined) throw new ChangeError('endsAt', show(change.endsAt), 'nothing beside a lease, which is the end')
  const id = randomUUID()
  await site.update((record, now) => withRuns(checkChange(true, change, now), [...othersOf(record, id, now), runOf(id, length, now)]))
  const stopRenewing = length === undefined ? () => {} : renew(site, id, length, log)
  let result: T
  try {
    await ready()
    result = await work()
  } catch (error) {
    stopRenewing()
    await leave(site, id, change.by).catch(reason => log.error({ err: reason }, `maintenance: site '${site.name}' stays closed after a run that failed`))
    throw error
  }
  stopRenewing()
  await leave(site, id, change.by)
  return result
}

const runOf = (id: string, length: number | undefined, now: number): Run =>
  ({ id, until: length === undefined ? null : new Date(now + length).toISOString() })

/** The runs under way beside this one; those whose lease has ended are dead. */
function othersOf ({ runs }: StateRecord, id: string, now: number): Run[] {
  return runs.filter(other => other.id !== id && (other.until === null || Date.parse(other.until) > now))
}

/** Where all runs have a lease, the site opens when the last one ends; where one has none, it stays closed for it. */
function withRuns (change: CheckedChange, runs: Run[]): CheckedChange {
  const ends = runs.map(({ until }) => until).filter(until => until !== null)
  // an end that was made of leases is none any more when a run without one joins
  const own = isLeased(change.runs ?? []) ? null : change.endsAt ?? null
  return { ...change, runs, endsAt: isLeased(runs) ? ends.sort().at(-1) as string : own }
}

const isLeased = (runs: readonly Run[]): boolean => runs.length > 0 && runs.every(({ until }) => until !== null)

const isIn = ({ on, runs }: StateRecord, id: string): boolean => on && runs.some(run => run.id === id)

async function leave (site: RunSite, id: string, by: string | undefined): Promise<void> {
  await site.update((record, now) => {
    if (!isIn(record, id)) return null
    const others = othersOf(record, id, now)
    return others.length > 0 ? withRuns(changeOf(record), others) : checkChange(false, by === undefined ? {} : { by }, now)
  })
}

/** Moves the end on while this process lives. @returns the way to stop */
function renew (site: RunSite, id: string, length: number, log: Log): () => void {
  const timer = setInterval(() => {
    site.update((record, now) => isIn(record, id) ? withRuns(changeOf(record), [...othersOf(record, id, now), runOf(id, length, now)]) : null, true)
      .catch(error => log.warn({ err: error }, `maintenance: the lease on site '${site.name}' could not be renewed: ${messageOf(error)}`))
  }, length / RENEWALS).unref()
  return () => clearInterval(timer)
}
