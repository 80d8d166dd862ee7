import type { IncomingMessage, ServerResponse } from 'node:http'

const HIDDEN = ['etag', 'cdn-cache-control']
const OURS = new Set([...HIDDEN, 'cache-control'])

/**
 * What is shown of a closed site to those few who may see it must not be kept by a CDN for the public.
 * The headers are set when they are written, after all hooks and handlers, so that nothing of the
 * application can say otherwise; and only for these answers, so that no other request pays for it.
 */
export function keepPrivate (raw: ServerResponse<IncomingMessage>, more: { readonly [name: string]: string }): void {
  const writeHead = raw.writeHead as (this: typeof raw, ...args: unknown[]) => typeof raw
  raw.writeHead = function writePrivateHead (this: typeof raw, statusCode: number, ...rest: unknown[]) {
    const given = rest.at(-1)
    const headers = typeof given === 'object' && given !== null ? rest.pop() as object : {}
    for (const name of HIDDEN) raw.removeHeader(name)
    raw.setHeader('cache-control', 'private, no-store')
    for (const name in more) raw.setHeader(name, more[name] as string)
    return writeHead.call(raw, statusCode, ...rest, withoutOurs(headers))
  }
}

const isOurs = (name: unknown): boolean => OURS.has(String(name).toLowerCase())

/** Headers as an object, or as a flat list of names and values, as `writeHead` takes them. */
function withoutOurs (headers: object): object {
  if (Array.isArray(headers)) return headers.filter((_value, i) => !isOurs(headers[i - i % 2]))
  if (!Object.keys(headers).some(isOurs)) return headers
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isOurs(name)))
}
