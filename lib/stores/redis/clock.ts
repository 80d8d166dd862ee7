import { performance } from 'node:perf_hooks'
import type { Client } from './client.ts'

/** How long a clock offset is used before Redis is asked again, ms. */
const BELIEVED = 1000

/** The clock of Redis as seen from here; where it was never heard of, or may not be asked, ours. */
export interface Clock {
  now (): number
  /** Asks Redis, unless it was asked just now. Never rejects. */
  check (client: Client): Promise<void>
  /** It was this late by Redis, not long ago. */
  hear (time: number): void
}

export function createClock (): Clock {
  // against a clock that nobody sets
  let offset: number | undefined
  let askedAt = -Infinity
  const clock: Clock = {
    now: () => Math.round(offset === undefined ? Date.now() : performance.now() + offset),
    async check (client) {
      if (performance.now() - askedAt < BELIEVED) return
      askedAt = performance.now()
      await client.time().then(
        ([seconds, micros]) => clock.hear(Number(seconds) * 1000 + Number(micros) / 1000),
        () => {}
      )
    },
    hear (time) {
      // as if the answer had taken no time: never ahead of Redis, so that no write is let through too late
      offset = time - performance.now()
    }
  }
  return clock
}
