import { createHash } from 'node:crypto'
import type { Client } from './client.ts'
import { isReply } from './errors.ts'

const digests = new Map<string, string>()

/**
 * Runs a script by its digest. Redis gets its text if it has none, or if an ACL allows EVAL only: then nothing has been
 * done yet.
 */
export async function runScript (
  client: Client,
  script: string,
  keys: readonly string[],
  ...args: (string | number)[]
): Promise<unknown> {
  try {
    return await client.evalsha(digestOf(script), keys.length, ...keys, ...args)
  } catch (error) {
    if (!isReply(error as Error, 'NOSCRIPT') && !isReply(error as Error, 'NOPERM')) throw error
    return client.eval(script, keys.length, ...keys, ...args)
  }
}

function digestOf (script: string): string {
  const digest = digests.get(script) ?? createHash('sha1').update(script).digest('hex')
  digests.set(script, digest)
  return digest
}
