import type { FastifyReply, FastifyRequest } from 'fastify'
import { isGone } from '../util/connection.ts'
import type { Work } from './handlers.ts'

/** The requests that were let through and have not ended. */
export interface InFlight {
  /** Called for every request that is let through as `inactive` or `read`. */
  add (reply: FastifyReply): void
  /** Plain requests of a site. */
  requests (site: string): FastifyReply[]
  /** Of these, the ones from before the site was last tightened. */
  requestsBefore (site: string, epoch: number): FastifyReply[]
  /** Upgraded connections and event streams of a site. */
  streams (site: string): FastifyReply[]
}

export interface InFlightParts {
  /** `null`: it belongs to no known site, and so to any. */
  readonly siteOf: (request: FastifyRequest) => string | null
  /** Is it a request that is never blocked, and so never waited for? */
  readonly isExempt: (request: FastifyRequest) => boolean
  /** The epoch of its site when it was let through; `undefined`: every site was open. */
  readonly epochOf: (request: FastifyRequest) => number | undefined
  readonly workOf: (reply: FastifyReply) => Work
  /** It never settles, and no longer counts. */
  readonly onAbandoned: (reply: FastifyReply) => void
}

/** While there are more entries than this, all are looked at regularly, even if no more requests come. */
const BURST = 8
/** ms */
const LOOK_EVERY = 1000

/** How long (ms) a request still counts after its client has hung up, if its handler never settles. */
const ABANDONED_AFTER = 60_000

/**
 * Keeps references, and looks at two of them with each new one. That is cheaper than a listener for each request, and
 * covers every way in which a request can end: `onResponse` misses aborted and hijacked ones. As two are looked at, the
 * list is at most about twice as long as it has to be. Each garbage collection copies what it holds.
 */
export function createInFlight ({ siteOf, isExempt, epochOf, workOf, onAbandoned }: InFlightParts): InFlight {
  const entered: FastifyReply[] = []
  const abandoned = new WeakMap<FastifyReply, number>()
  let next = 0
  let timer: NodeJS.Timeout | undefined

  function add (reply: FastifyReply): void {
    for (let looks = 0; looks < 2 && entered.length > 0; looks++) lookAtNext()
    if (entered.push(reply) > BURST) lookSoon()
  }

  /** Goes downwards: the request that takes the place of an ended one is new, or has just been looked at. */
  function lookAtNext (): void {
    next = next > 0 && next <= entered.length ? next - 1 : entered.length - 1
    if (hasEnded(entered[next] as FastifyReply)) replaceByLast(next)
  }

  /** The order of the list doesn't matter. */
  function replaceByLast (place: number): void {
    const last = entered.pop() as FastifyReply
    if (place < entered.length) entered[place] = last
  }

  function lookAtAll (): void {
    for (let i = entered.length - 1; i >= 0; i--) if (hasEnded(entered[i] as FastifyReply)) replaceByLast(i)
  }

  function lookSoon (): void {
    timer ??= setTimeout(() => {
      timer = undefined
      lookAtAll()
      if (entered.length > BURST) lookSoon()
    }, LOOK_EVERY).unref()
  }

  function hasEnded (reply: FastifyReply): boolean {
    const { raw } = reply
    if (!isGone(reply)) return false
    if (raw.writableEnded || isStream(reply)) return true
    // the client has hung up
    const work = workOf(reply)
    const isAnswered = work === 'answered' || raw.headersSent || hasLength(reply)
    return (isAnswered && work !== 'pending') || isAbandoned(reply)
  }

  function isAbandoned (reply: FastifyReply): boolean {
    const now = performance.now()
    const since = abandoned.get(reply) ?? now
    abandoned.set(reply, since)
    if (now - since < ABANDONED_AFTER) return false
    onAbandoned(reply)
    return true
  }

  function entriesOf (site: string): FastifyReply[] {
    lookAtAll()
    return entered.filter(({ request }) => {
      const name = siteOf(request)
      return (name === site || name === null) && !isExempt(request)
    })
  }

  const requests = (site: string): FastifyReply[] => entriesOf(site).filter(reply => !isStream(reply))

  return {
    add,
    requests,
    requestsBefore: (site, epoch) => requests(site).filter(({ request }) => (epochOf(request) ?? -1) < epoch),
    streams: site => entriesOf(site).filter(isStream)
  }
}

/** A response of HTTP/2 forgets what is sent after a reset, but Fastify has noted the length of the body. */
const hasLength = (reply: FastifyReply): boolean => 'stream' in reply.raw && reply.hasHeader('content-length')

/** An upgraded connection or an event stream: it can last indefinitely. */
export function isStream (reply: FastifyReply): boolean {
  return isUpgraded(reply) || (reply.raw.headersSent && contentTypeOf(reply).startsWith('text/event-stream'))
}

/**
 * If a plugin listens for WebSockets, Node marks every request that asks for an upgrade, including those that a plain
 * handler answers (Java's HttpClient asks for h2c each time). A request is upgraded once its response was hijacked.
 */
export const isUpgraded = ({ request, sent }: FastifyReply): boolean =>
  (request.raw as { upgrade?: boolean }).upgrade === true && sent

function contentTypeOf (reply: FastifyReply & { raw: { _header?: unknown } }): string {
  const known = reply.getHeader('content-type')
  // headers that were only passed to `writeHead` are found nowhere else; without them, a stream counts as a request
  return String(known ?? /^content-type: *(.*)$/im.exec(String(reply.raw._header))?.[1])
}
