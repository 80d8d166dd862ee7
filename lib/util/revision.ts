const DAY = 86_400_000

/** Can it be a revision? One far ahead of the clock would lock out every later writer. */
export function isRevision (value: unknown, now = Date.now()): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= now + DAY
}
