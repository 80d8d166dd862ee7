import type { IncomingHttpHeaders } from 'node:http'

/**
 * One header of a request. Node's `headers` is an ordinary object: what a library put on `Object.prototype` is no
 * header.
 */
export function headerOf ({ headers }: { readonly headers: IncomingHttpHeaders }, name: string): string | undefined {
  return Object.hasOwn(headers, name) ? headers[name] as string | undefined : undefined
}

/**
 * Does the request ask for another protocol on its connection, such as WebSocket? `upgrade` is true if Node hands the
 * connection over. Without anybody who takes it, Node answers the request as any other: one that offers `h2c` alone, as
 * Java's HttpClient does on every plain request, is not an upgrade. Any other protocol counts either way:
 * some handler may still take the connection.
 */
export function asksForUpgrade (raw: { readonly headers: IncomingHttpHeaders, readonly upgrade?: boolean }): boolean {
  if (Object.hasOwn(raw, 'upgrade') && raw.upgrade === true) return true
  const protocols = headerOf(raw, 'upgrade')
  return protocols !== undefined && protocols.trim().toLowerCase() !== 'h2c'
}
