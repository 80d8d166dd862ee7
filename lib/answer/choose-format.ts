import type { FastifyRequest } from 'fastify'
import type { ResponseSettings } from './settings.ts'
import { negotiateFormat, type Format } from './negotiate.ts'

const FORMATS: readonly unknown[] = ['html', 'json', 'text'] satisfies Format[]

/**
 * The option `type` if it names a format; if its function fails, the client chooses. An `EventSource` gets its stream in
 * any case, because a 503 would stop it for good.
 */
export function chooseFormat (request: FastifyRequest, type: ResponseSettings['type']): Format {
  const negotiated = negotiateFormat(request.raw.headers.accept)
  if (type === 'auto' || negotiated === 'events') return negotiated
  let format: unknown = type
  try {
    if (typeof type === 'function') format = type(request)
  } catch (error) {
    request.log.warn({ err: error }, 'maintenance: the function response.type failed')
  }
  return FORMATS.includes(format) ? format as Format : negotiated
}
