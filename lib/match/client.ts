import type { FastifyRequest } from 'fastify'
import type { Log } from '../util/log.ts'
import { clientOf } from '../util/client-ip.ts'
import { headerOf } from '../util/header.ts'
import type { IpMatcher } from './ip.ts'

/**
 * Makes the question whether a client's address is ignored.
 * @param ips `null`: there are no rules, and `request.ip` is not read: it is expensive behind a list of trusted proxies
 */
export type ClientCheck = (ips: IpMatcher | null) => (request: FastifyRequest) => boolean

/**
 * Behind a proxy that Fastify does not trust, every visitor has the proxy's address: the first request that is let
 * through by it is logged as a warning.
 */
export function createClientCheck (log: Log): ClientCheck {
  let warned = false
  return ips => ips === null ? () => false : request => isIgnoredClient(ips, request)

  function isIgnoredClient (ips: IpMatcher, request: FastifyRequest): boolean {
    const client = clientOf(request)
    if (!ips(client)) return false
    if (!warned && isForwarded(request) && !trustsPeer(request)) {
      warned = true
      log.warn(
        `maintenance: a request from the ignored address ${client} was let through, but it came through a proxy: ` +
          "it has the header X-Forwarded-For or Forwarded, and Fastify's trustProxy is off or does not cover that address, so all visitors behind it are let through. " +
          'Set trustProxy to the address of the proxy, or remove it from ignore.ips (logged once)'
      )
    }
    return true
  }
}

/** Reads by a fixed name first, see `clientOf`. */
function isForwarded ({ raw }: FastifyRequest): boolean {
  const { headers } = raw
  return (headers['x-forwarded-for'] !== undefined && headerOf(raw, 'x-forwarded-for') !== undefined) ||
    (headers.forwarded !== undefined && headerOf(raw, 'forwarded') !== undefined)
}

/** Without `trustProxy` there is no `ips`; with it, the list holds the peer, and more if the peer is trusted. */
function trustsPeer ({ raw, ips }: FastifyRequest): boolean {
  return ips !== undefined && (ips.length > 1 || headerOf(raw, 'x-forwarded-for') === undefined)
}
