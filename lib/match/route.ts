import { normalise, routerPath, type RouterOptions } from './path.ts'

/** What the matcher says of a route: every request to it, none, or only a look at the path can tell. */
export type Verdict = 'yes' | 'no' | 'look'

export interface RouteMatcher {
  /** Decides by the route's own template (`request.routeOptions.url`); to be remembered per route. */
  template (url: string): Verdict
  /** Decides by the raw request target; only asked where `template` says `'look'`. */
  target (target: string): boolean
}

export const PATTERN_EXPECTED = "a path such as '/health', or '/admin/*' for all below it (decoded; no '?', '#', '%', '//', '.' or '..'; '*' only as the last segment)"

/** Is it a string pattern that `compileRoutes` takes? */
export function isPattern (pattern: unknown): pattern is string {
  return typeof pattern === 'string' && pattern.startsWith('/') &&
    !/[?#%\\]|\/\/|\/\.{1,2}(?:\/|$)/.test(pattern) &&
    !pattern.replace(/\/\*$/, '').includes('*')
}

/**
 * @param patterns checked before; a string with a `:` is a route's template, not a path
 */
export function compileRoutes (patterns: readonly (string | RegExp)[], options: RouterOptions): RouteMatcher {
  const strings = patterns.filter(pattern => typeof pattern === 'string').map(pattern => normalise(pattern, options))
  const expressions = patterns.filter(pattern => pattern instanceof RegExp)
  const templates = compileStrings(strings)
  const paths = compileStrings(strings.filter(pattern => !pattern.includes(':')))

  return {
    template (url) {
      const template = normalise(url, options)
      if (!/[:*]/.test(template)) {
        return templates.has(template) || expressions.some(expression => expression.test(url)) ? 'yes' : 'no'
      }
      // '/opt/:id?' answers '/opt' too: what is textually below a pattern may still be wider than it
      if (templates.isExact(template) || (templates.isBelow(template) && !template.endsWith('?'))) return 'yes'
      return expressions.length > 0 || paths.mayHold(staticHead(template)) ? 'look' : 'no'
    },
    target (target) {
      const path = routerPath(target, options)
      return path !== null && (paths.has(path) || expressions.some(expression => expression.test(path)))
    }
  }
}

/** Exact paths in one set, those of `/x/*` as `/x/` in another: the cost does not grow with their number. */
function compileStrings (patterns: string[]) {
  const exact = patterns.filter(pattern => !pattern.endsWith('/*'))
  const parents = patterns.filter(pattern => pattern.endsWith('/*')).map(pattern => pattern.slice(0, -1))
  const exactSet = new Set(exact)
  const parentSet = new Set(parents)
  const longest = parents.reduce((length, parent) => Math.max(length, parent.length), 0)

  const isExact = (path: string): boolean => exactSet.has(path)

  function isBelow (path: string): boolean {
    for (let at = path.indexOf('/'); at !== -1 && at < longest; at = path.indexOf('/', at + 1)) {
      if (parentSet.has(path.slice(0, at + 1))) return true
    }
    return false
  }

  return {
    isExact,
    isBelow,
    has: (path: string) => isExact(path) || isBelow(path),
    /** Can a path that begins so be held? A wrong yes costs a look, a wrong no would refuse. */
    mayHold: (head: string) =>
      exact.some(path => path.startsWith(head)) ||
      parents.some(parent => parent.startsWith(head) || head.startsWith(parent))
  }
}

/** The template up to its first parameter or wildcard, without the slash, which an optional one takes along. */
const staticHead = (template: string): string => template.slice(0, template.search(/[:*]/)).replace(/\/$/, '')
