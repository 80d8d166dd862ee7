import type { FastifyRequest } from 'fastify'
import { isPattern } from '../match/route.ts'

export const REDIRECT_EXPECTED = "a local path such as '/down' (not '/', which would leave nothing closed), or an absolute http or https URL"

/** Is it a target that can be sent to? */
export function isRedirect (target: unknown): target is string {
  // eslint-disable-next-line no-control-regex -- control characters are what it looks for
  if (typeof target !== 'string' || /[\u0000-\u0020\u007f\\]/.test(target) || !URL.canParse(target, 'http://local')) return false
  const path = localPath(target)
  return path === null ? /^https?:\/\//i.test(target) : path !== '/' && !target.startsWith('//') && isPattern(path)
}

/** The path of a local target, which must never be refused; `null` for another site. */
export function localPath (target: string | undefined): string | null {
  if (target?.startsWith('/') !== true) return null
  const { pathname } = new URL(target, 'http://local')
  // an escape that cannot be decoded stays, and is refused for its '%'
  try { return decodeURI(pathname) } catch { return pathname }
}

/** Is this a page that someone navigates to, and not the target itself? */
export function leadsAway (target: string, request: FastifyRequest): boolean {
  const fetchMode = request.raw.headers['sec-fetch-mode']
  if (fetchMode !== undefined && fetchMode !== 'navigate') return false
  const here = `http://${request.host}`
  if (!URL.canParse(request.url, here) || !URL.canParse(target, here)) return false
  const from = new URL(request.url, here)
  const to = new URL(target, here)
  return from.host !== to.host || from.pathname !== to.pathname
}
