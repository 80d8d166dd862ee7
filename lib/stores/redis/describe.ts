import type { Client, ClientOptions } from './client.ts'

/** Where a client connects to, as the log says it: no user, no password. */
export function describeClient (client: Client): string {
  // ioredis keeps it, its types do not show it
  if (client.isCluster) return `the cluster of ${list((client as { startupNodes?: readonly unknown[] }).startupNodes)}`
  const { path, sentinels, name, db = 0 } = client.options
  return `${sentinels ? `${name} of the sentinels ${list(sentinels)}` : path ?? hostOf(client.options)}, database ${db}`
}

const list = (nodes: readonly unknown[] = []): string => nodes.map(nodeOf).join(' and ')

/** A node may be an object, a port, or an address, which may hold a password. */
function nodeOf (node: unknown): string {
  if (typeof node === 'number') return `localhost:${node}`
  if (typeof node === 'object' && node !== null) return hostOf(node)
  const address = String(node)
  const url = address.includes('://') ? address : `redis://${address}`
  return URL.canParse(url) ? new URL(url).host : 'a node'
}

function hostOf ({ host = 'localhost', port = 6379 }: ClientOptions): string {
  return String(host).includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
