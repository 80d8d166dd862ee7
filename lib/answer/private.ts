import type { IncomingMessage, ServerResponse } from 'node:http'

const HIDDEN = ['etag', 'cdn-cache-control']

/**
 * What is shown of a closed site to those few who may see it must not be kept by a CDN for the public.
 * The headers are set when they are written, after all hooks and handlers, so that nothing of the
 * application can say otherwise; and only for these answers, so that no other request pays for it.
 */
export function keepPrivate (raw: ServerResponse<IncomingMessage>, more: { readonly [name: string]: string }): void {
  const writeHead = raw.writeHead.bind(raw) as (...args: unknown[]) => ServerResponse<IncomingMessage>
  raw.writeHead = function writePrivateHead (statusCode: number, ...rest: unknown[]) {
    const given = rest.at(-1)
    const headers = typeof given === 'object' && given !== null ? rest.pop() as object : {}
    for (const name of HIDDEN) raw.removeHeader(name)
    raw.setHeader('cache-control', 'private, no-store')
    for (const [name, value] of Object.entries(more)) raw.setHeader(name, value)
    return writeHead(statusCode, ...rest, without(headers, [...HIDDEN, 'cache-control']))
  }
}

/** Headers as an object, or as a flat list of names and values, as `writeHead` takes them. */
function without (headers: object, names: string[]): object {
  const isKept = (name: unknown) => !names.includes(String(name).toLowerCase())
  if (Array.isArray(headers)) return headers.filter((_value, i) => isKept(headers[i - i % 2]))
  return Object.fromEntries(Object.entries(headers).filter(([name]) => isKept(name)))
}
