import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import type { DrainOptions, StillRunning } from '../../types/index.ts'
import { checkShape, integer, type Shape } from '../util/validate.ts'
import { ChangeError, DrainError, show } from '../errors.ts'
import { byRoute } from './in-flight.ts'

/** How often it is looked, while somebody waits, ms: a listener on every running request is not needed then. */
const LOOK_EVERY = 20

const milliseconds = integer(1, 3_600_000, ' (milliseconds)')

const OPTIONS: Shape = {
  timeout: milliseconds,
  signal: { expected: 'an AbortSignal', test: value => value instanceof AbortSignal }
}

/** @throws FST_ERR_MAINTENANCE_CHANGE */
export function checkTimeout (name: string, value: unknown): void {
  if (value !== undefined && !milliseconds.test(value)) throw new ChangeError(name, show(value), milliseconds.expected)
}

/** A site as far as draining matters. */
export interface DrainSite {
  readonly gate: { readonly active: boolean }
  requests (): FastifyReply[]
  /** Of these, those that the present state did not let in. */
  older (): FastifyReply[]
}

export function stillRunning (message: string, details: StillRunning): Error {
  return Object.assign(new DrainError(message), details)
}

/**
 * Waits until no request runs that was let in before. Reads that a read-only site lets in meanwhile do not hold it.
 * @throws FST_ERR_MAINTENANCE_DRAIN when the time is over, or the site was opened meanwhile; the signal's reason
 */
export async function drained (site: DrainSite, options: DrainOptions = {}): Promise<void> {
  checkShape(OPTIONS, options, (name, value, expected) => new ChangeError(name || 'the options', show(value), expected))
  const { timeout, signal } = options
  const begin = performance.now()
  const known = new Set(site.requests())
  let closed = site.gate.active
  for (;;) {
    signal?.throwIfAborted()
    closed ||= site.gate.active
    if (closed && !site.gate.active) throw stillRunning('the site was opened while its requests were waited for', detailsOf(site.requests()))
    const older = new Set(site.older())
    const running = site.requests().filter(reply => known.has(reply) || older.has(reply))
    if (running.length === 0) return
    if (timeout !== undefined && performance.now() - begin >= timeout) throw stillRunning(`after ${timeout} ms, requests are still running: ${routesInWords(byRoute(running))}`, detailsOf(running))
    await sleep(LOOK_EVERY, undefined, signal === undefined ? {} : { signal }).catch(() => {})
  }
}

const detailsOf = (running: FastifyReply[]): StillRunning => ({ inFlight: running.length, routes: byRoute(running) })

/** `2 × GET /export, 1 × POST /order` */
export function routesInWords (routes: Readonly<Record<string, number>>): string {
  return Object.entries(routes).map(([route, count]) => `${count} × ${route}`).join(', ')
}
