/**
 * Settles as `work` does, or rejects after `ms` with the error that `late` makes.
 * Later errors of `work` are ignored.
 */
export async function withTimeout<T> (
  work: Promise<T>,
  ms: number,
  late = (): Error => new Error(`no answer within ${ms} ms`)
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expiry = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), ms)
  })
  try {
    return await Promise.race([work, expiry])
  } finally {
    clearTimeout(timer)
  }
}
