import type { FastifyRequest } from 'fastify'
import type { ResponseSettings } from './settings.ts'
import { asksForUpgrade } from '../util/header.ts'
import { negotiateBody, negotiateFormat, type Format } from './negotiate.ts'

const FORMATS: readonly unknown[] = ['html', 'json', 'text'] satisfies Format[]

/**
 * The option `type` if it names a format; if its function fails, the client chooses. An `EventSource`, which only sends
 * GET, gets its stream in any case, because a 503 would stop it for good. Any other method must not get a 200.
 */
export function chooseFormat (request: FastifyRequest, type: ResponseSettings['type']): Format {
  const { accept } = request.raw.headers
  const negotiated =
    request.method === 'GET' && !asksForUpgrade(request.raw) ? negotiateFormat(accept) : negotiateBody(accept)
  if (type === 'auto' || negotiated === 'events') return negotiated
  let format: unknown = type
  try {
    if (typeof type === 'function') format = type(request)
  } catch (error) {
    request.log.warn({ err: error }, 'maintenance: the function response.type failed')
  }
  return FORMATS.includes(format) ? format as Format : negotiated
}
