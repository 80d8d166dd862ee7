import type { FastifyInstance, FastifyRequest, FastifySchema } from 'fastify'
import type { Message, PublicStatus } from '../types/index.ts'
import { createMessageChooser } from './answer/message.ts'
import type { ResponseSettings } from './answer/settings.ts'
import { variablesOf } from './answer/variables.ts'
import { OWN_PAGE_CONFIG } from './route-config.ts'
import type { Sites } from './sites.ts'
import { modeOf, type StoredWindow } from './state/record.ts'
import type { StateView } from './state/view.ts'
import { toUpcoming } from './state/window.ts'

export interface PublicStatusParts {
  readonly finder: Sites
  readonly viewOf: (site: string) => StateView
  readonly response: ResponseSettings
  /** ms */
  readonly clock: () => number
}

/** The state for apps, status pages and the maintenance page. It is never blocked, and every origin may read it. */
export async function addPublicStatus (
  fastify: FastifyInstance,
  path: string,
  parts: PublicStatusParts
): Promise<void> {
  await fastify.register(async function maintenanceStatus (child) {
    child.addHook('onSend', async (_request, reply) => {
      reply.removeHeader('access-control-allow-credentials')
      reply.removeHeader('etag')
      reply.headers({
        'access-control-allow-origin': '*',
        'access-control-expose-headers': 'Retry-After',
        'cache-control': 'no-store',
        vary: 'Accept-Language'
      })
    })
    // an application's own serializer may make anything of it
    child.setReplySerializer(payload => JSON.stringify(payload))
    const schema = { hide: true } as FastifySchema
    child.get(path, { config: OWN_PAGE_CONFIG, schema, exposeHeadRoute: true }, async (request, reply) => {
      const status = describe(request, parts)
      if (status.retryAfter !== null) reply.header('retry-after', status.retryAfter)
      return reply.type('application/json; charset=utf-8').send(status)
    })
  })
}

function describe (request: FastifyRequest, { finder, viewOf, response, clock }: PublicStatusParts): PublicStatus {
  const { gate } = finder.of(request)
  const { site } = gate.outcomes.inactive.decision
  // a site that nobody knows is closed if any is, and says no more
  if (site === null) return { ...NOTHING, site, active: gate.active, upcoming: [] }
  const { active, ahead } = viewOf(site)
  const inLanguage = (message: Message | null) =>
    createMessageChooser(message).choose(request.headers['accept-language'])
  const upcoming = ahead.map(toUpcoming).map(window => ({ ...window, message: inLanguage(window.message) }))
  const [deciding] = active
  if (deciding === undefined) return { ...NOTHING, site, active: false, upcoming }
  const { startsAt, endsAt, retryAfter } = variablesOf(site, deciding, null, response, clock())
  return {
    site,
    active: true,
    mode: modeOf(deciding),
    message: inLanguage(deciding.message),
    startsAt,
    endsAt,
    retryAfter,
    onlyRoutes: partOf(active),
    upcoming
  }
}

/** The routes that are closed; `null`: some window closes the whole site. */
function partOf (active: readonly StoredWindow[]): string[] | null {
  return active.some(({ onlyRoutes }) => onlyRoutes.length === 0)
    ? null
    : [...new Set(active.flatMap(({ onlyRoutes }) => onlyRoutes))]
}

const NOTHING = { mode: null, message: null, startsAt: null, endsAt: null, retryAfter: null, onlyRoutes: null }
