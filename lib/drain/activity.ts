import type { FastifyReply } from 'fastify'
import type { InFlight } from './in-flight.ts'
import type { TrackedWork, Tracker } from './track.ts'

/** A request or a piece of tracked work. */
export type Task = FastifyReply | TrackedWork

/** What is running for one site on this server. */
export interface Activity {
  /** Plain requests. */
  requests (): FastifyReply[]
  /** Plain requests and tracked work. */
  tasks (): Task[]
  /** Of these, the ones from before the site was last tightened; none while it is open. */
  tasksBefore (): Task[]
  /** Upgraded connections and event streams. */
  streams (): FastifyReply[]
}

export function createActivity (
  site: string, gate: () => { readonly active: boolean, readonly epoch: number }, inFlight: InFlight, tracker: Tracker
): Activity {
  const requests = (): FastifyReply[] => inFlight.requests(site)
  return {
    requests,
    tasks: () => [...requests(), ...tracker.running()],
    tasksBefore () {
      const { active, epoch } = gate()
      if (!active) return []
      return [...inFlight.requestsBefore(site, epoch), ...tracker.running().filter(work => work.epoch < epoch)]
    },
    streams: () => inFlight.streams(site)
  }
}

/** Counts tasks by method and route, or by the name of tracked work. */
export function countByName (tasks: readonly Task[]): Record<string, number> {
  return sumByName(tasks.map(task => [nameOf(task), 1]))
}

/** Adds up. A name may be that of a member of all objects, such as `constructor`. */
export function sumByName (counts: readonly (readonly [name: string, count: number])[]): Record<string, number> {
  const sums = new Map<string, number>()
  for (const [name, count] of counts) sums.set(name, (sums.get(name) ?? 0) + count)
  return Object.fromEntries(sums)
}

/** Method and route, or the name of tracked work. */
export function nameOf (task: Task): string {
  return 'request' in task ? `${task.request.method} ${task.request.routeOptions.url ?? '(no route)'}` : task.name
}

/** `2 × GET /export, 1 × POST /order` */
export const countsInWords = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts).map(([name, count]) => `${count} × ${name}`).join(', ')
