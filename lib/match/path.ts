/** The four options of Fastify's router that decide which route a request target reaches. */
export interface RouterOptions {
  readonly ignoreTrailingSlash: boolean
  readonly ignoreDuplicateSlashes: boolean
  readonly caseSensitive: boolean
  readonly useSemicolonDelimiter: boolean
}

/**
 * What a proxy, a handler or a file system may read differently than the router does: duplicate slashes, backslashes,
 * remaining escapes, path parameters, control characters, dot segments, and blanks at the edge of a segment.
 */
// eslint-disable-next-line no-control-regex -- it must match control characters
const AMBIGUOUS = /[\\%;\u0000-\u001f\u007f-\u009f]|\/\/|\/\s|\s(?:\/|$)|\/\.{1,2}(?:\/|$)/

/** Their lower case is or begins with an ASCII letter: the router treats them as that letter, a handler may not. */
const FOLDS_TO_ASCII = /[\u0130\u212a]/

/**
 * The path of a raw request target as the router sees it (find-my-way: `find` and `safeDecodeURI`).
 * @returns `null` if it is ambiguous. The absolute form (`http://host/path`) always is: find-my-way 9.9 changed how it
 * finds the path in it, and proxies differ too. So is a target without a path, such as the `*` of OPTIONS.
 */
export function routerPath (target: string, options: RouterOptions): string | null {
  if (!target.startsWith('/')) return null
  const path = decode(cut(target, options))
  if (path === null || (!options.caseSensitive && FOLDS_TO_ASCII.test(path))) return null
  // check before removing the trailing slash: the router drops only one of the two in `/admin//`
  const merged = mergeSlashes(path, options)
  return AMBIGUOUS.test(merged) ? null : normalise(merged, options)
}

/** Removes the differences that the router ignores: duplicate slashes, a trailing slash, and case. */
export function normalise (path: string, options: RouterOptions): string {
  path = mergeSlashes(path, options)
  if (options.ignoreTrailingSlash && path.length > 1 && path.endsWith('/')) path = path.slice(0, -1)
  return options.caseSensitive ? path : path.toLowerCase()
}

function mergeSlashes (path: string, { ignoreDuplicateSlashes }: RouterOptions): string {
  return ignoreDuplicateSlashes ? path.replace(/\/{2,}/g, '/') : path
}

/** Removes the query string. Like the router, it does not look for one at the first character. */
function cut (path: string, options: RouterOptions): string {
  const end = path.slice(1).search(options.useSemicolonDelimiter ? /[?#;]/ : /[?#]/)
  return end === -1 ? path : path.slice(0, end + 1)
}

/** What `decodeURI` leaves escaped (such as `%2F`) is ambiguous; the caller refuses it because of its `%`. */
function decode (path: string): string | null {
  if (!path.includes('%')) return path
  try {
    return decodeURI(path)
  } catch {
    return null
  }
}
