import type { FastifyInstance } from 'fastify'
import type { Sites } from './sites.ts'

/**
 * Tells clients of a window that is about to start: `Maintenance-Upcoming: START/END; mode=MODE`, or `START/..` if no
 * end is known. It is a hook of its own, so that without the option an open site pays nothing.
 * @param within how long before the start, ms
 */
export function addUpcomingHeader (fastify: FastifyInstance, within: number, sites: Sites, clock: () => number): void {
  fastify.addHook('onRequest', function announce (request, reply, done) {
    const { upcoming } = sites.of(request).gate.outcomes.inactive.decision
    if (upcoming !== null && Date.parse(upcoming.startsAt) - clock() <= within) {
      reply.header('maintenance-upcoming', `${upcoming.startsAt}/${upcoming.endsAt ?? '..'}; mode=${upcoming.mode}`)
    }
    done()
  })
}
