const DAY = 86_400_000

/** No writer's clock is that far ahead of the others' (ms). */
export const isFarAhead = (time: number, now: number): boolean => time > now + DAY

/** Can it be a revision? One far ahead of the clock would lock out every later writer. */
export function isRevision (value: unknown, now = Date.now()): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0 && !isFarAhead(Number(value), now)
}
