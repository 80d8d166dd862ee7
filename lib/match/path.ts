/** The four options of Fastify's router that decide what a request target reaches. */
export interface RouterOptions {
  readonly ignoreTrailingSlash: boolean
  readonly ignoreDuplicateSlashes: boolean
  readonly caseSensitive: boolean
  readonly useSemicolonDelimiter: boolean
}

/**
 * What a proxy, a handler or a file system may read differently than the router does: duplicate slashes,
 * backslashes, escapes that are left, path parameters, control characters, dot segments, blanks at the
 * edge of a segment.
 */
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const AMBIGUOUS = /[\\%;\u0000-\u001f\u007f-\u009f]|\/\/|\/\s|\s(?:\/|$)|\/\.{1,2}(?:\/|$)/

/** Their lower case is, or begins with, an ASCII letter: the router takes them for that one, a handler may not. */
const FOLDS_TO_ASCII = /[\u0130\u212a]/

/**
 * The path of a raw request target as the router sees it (find-my-way: `find` and `safeDecodeURI`).
 * @returns `null` for what is ambiguous or no path at all
 */
export function routerPath (target: string, options: RouterOptions): string | null {
  const origin = stripOrigin(target)
  const path = origin === null ? null : decode(cut(origin, options))
  if (path === null || (!options.caseSensitive && FOLDS_TO_ASCII.test(path))) return null
  const plain = normalise(path, options)
  return AMBIGUOUS.test(plain) ? null : plain
}

/** Duplicate slashes, trailing slash and case, as far as the router ignores them. */
export function normalise (path: string, options: RouterOptions): string {
  if (options.ignoreDuplicateSlashes) path = path.replace(/\/{2,}/g, '/')
  if (options.ignoreTrailingSlash && path.length > 1 && path.endsWith('/')) path = path.slice(0, -1)
  return options.caseSensitive ? path : path.toLowerCase()
}

/**
 * `http://host/path` is `/path` (RFC 9112 section 3.2.2: the absolute form). The router reads whatever else does
 * not begin with a slash as if it did: no path. With a backslash in it, the host ends elsewhere for other readers.
 */
function stripOrigin (target: string): string | null {
  if (target.startsWith('/')) return target
  const [origin] = /^https?:\/\/[^/?#\\]+/i.exec(target) ?? []
  if (origin === undefined || target.includes('#')) return null
  const rest = target.slice(origin.length)
  if (rest.startsWith('\\')) return null
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** Up to the query string; the router looks for its begin behind the first character. */
function cut (path: string, options: RouterOptions): string {
  const end = path.slice(1).search(options.useSemicolonDelimiter ? /[?#;]/ : /[?#]/)
  return end === -1 ? path : path.slice(0, end + 1)
}

/** What `decodeURI` leaves escaped (`%2F` and the like) is ambiguous, and refused for its `%`. */
function decode (path: string): string | null {
  if (!path.includes('%')) return path
  try {
    return decodeURI(path)
  } catch {
    return null
  }
}
