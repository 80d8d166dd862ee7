// Spans of blocked requests are marked. To save their cost, drop them.
import { FastifyOtelInstrumentation } from '@fastify/otel'
import { BasicTracerProvider, type ReadableSpan, type SpanProcessor } from '@opentelemetry/sdk-trace-base'
import Fastify, { type FastifyRequest } from 'fastify'
import maintenance from 'fastify-maintenance'

/** For the option `onBlocked`. */
function markSpan (request: FastifyRequest): void {
  const { reason, site, mode } = request.maintenance
  request.opentelemetry().span?.setAttributes({
    'maintenance.blocked': true, 'maintenance.reason': reason, 'maintenance.site': site ?? '', 'maintenance.mode': mode ?? ''
  })
}

/** Hands on to `next` all spans except those of blocked requests. */
export function withoutBlocked (next: SpanProcessor): SpanProcessor {
  return {
    onStart: (span, context) => next.onStart(span, context),
    onEnd (span: ReadableSpan) {
      if (span.attributes['maintenance.blocked'] !== true) next.onEnd(span)
    },
    forceFlush: () => next.forceFlush(),
    shutdown: () => next.shutdown()
  }
}

export async function createApp (processor: SpanProcessor) {
  // hooks have no spans of their own: the hook of maintenance would have one for every request, blocked or not
  const otel = new FastifyOtelInstrumentation({ instrumentHooks: false })
  otel.setTracerProvider(new BasicTracerProvider({ spanProcessors: [processor] }))

  const app = Fastify()
  await app.register(otel.plugin()) // before maintenance, so that blocked requests have a span
  await app.register(maintenance, { onBlocked: markSpan })
  app.get('/', async () => 'open')
  app.get('/about', { config: { maintenance: 'off' } }, async () => 'always open')
  return app
}
