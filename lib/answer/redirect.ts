import type { FastifyRequest } from 'fastify'
import type { RouterOptions } from '../match/path.ts'
import { compileRoutes, isPattern } from '../match/route.ts'

export const REDIRECT_EXPECTED =
  "a local path such as '/down' (not '/', which would leave nothing closed, and without ':' or '*'), or an absolute http or https URL"

/** Is it a target that visitors can be sent to? */
export function isRedirect (target: unknown): target is string {
  // eslint-disable-next-line no-control-regex -- control characters are what it looks for
  if (typeof target !== 'string' || /[\u0000-\u0020\u007f\\]/.test(target) || !URL.canParse(target, 'http://local')) {
    return false
  }
  const path = localPath(target)
  return path === null
    ? /^https?:\/\//i.test(target)
    : path !== '/' && !target.startsWith('//') && isPattern(path) && !/[:*]/.test(path)
}

/**
 * The path of a local target, which must never be blocked if a route answers it; `null`: the target is another site.
 */
export function localPath (target: string | undefined): string | null {
  if (target?.startsWith('/') !== true) return null
  const { pathname } = new URL(target, 'http://local')
  // an escape that cannot be decoded stays, and is refused for its '%'
  try { return decodeURI(pathname) } catch { return pathname }
}

/** The path of a URL in the one form that a proxy may have given it. */
function comparable (url: string): string {
  const { pathname } = new URL(url, 'http://local')
  const path = pathname.replace(/\/+$/, '').toLowerCase()
  try { return decodeURI(path) } catch { return path }
}

/** Where visitors are sent instead of to the page. */
export interface Redirect {
  readonly target: string
  /** Is this a page that someone navigates to, and may it be sent to the target without a loop or a 404? */
  leadsAway (request: FastifyRequest): boolean
  /** To be called when all routes are known, with the templates of those that answer GET; `null`: nobody knows them. */
  check (templates: readonly string[] | null): void
}

export function createRedirect (target: string, router: RouterOptions): Redirect {
  const pathname = comparable(target)
  const path = localPath(target)
  let isAnswered = true

  /** Behind a proxy the host may be any, so the path alone tells whether the target was reached. */
  const isTarget = (url: string): boolean => !URL.canParse(url, 'http://local') || comparable(url) === pathname

  return {
    target,
    leadsAway (request) {
      const fetchMode = request.raw.headers['sec-fetch-mode']
      if (fetchMode !== undefined && fetchMode !== 'navigate') return false
      return isAnswered && !isTarget(request.url) && !isTarget(request.originalUrl)
    },
    check (templates) {
      if (path === null || templates === null) return
      const matcher = compileRoutes([path], router)
      isAnswered = templates.some(template => matcher.template(template) !== 'no')
    }
  }
}
