import { normalise, routerPath, type RouterOptions } from './path.ts'
import { weigh } from './safe-regexp.ts'
import { compilePaths } from './path-set.ts'

/** Whether every request to a route is ignored, none is, or the matcher must look at the path. */
export type Verdict = 'yes' | 'no' | 'look'

export interface RouteMatcher {
  /** Decides by the route's template (`request.routeOptions.url`); callers remember the verdict per route. */
  template (url: string): Verdict
  /** Decides by the raw request target; call it only if `template` returned `'look'`. */
  target (target: string): boolean
}

export const PATTERN_EXPECTED =
  "a path such as '/health', or '/admin/*' for all below it " +
  "(decoded; no '?', '#', '%', '//', '.', '..' or control characters; '*' only as the last segment)"

/** Control characters and unpaired surrogates: an ambiguous path, never matched, so such a pattern is a mistake. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u

/** Whether `compileRoutes` accepts the string pattern. */
export function isPattern (pattern: unknown): pattern is string {
  return typeof pattern === 'string' && pattern.startsWith('/') &&
    !/[?#%\\]|\/\/|\/\.{1,2}(?:\/|$)/.test(pattern) && !UNPRINTABLE.test(pattern) &&
    !pattern.replace(/\/\*$/, '').includes('*')
}

/** The limit of steps of all expressions together, about 2 ms. A path that may need more is not ignored. */
const STEPS_MAX = 2_000_000

/**
 * @param patterns validated. As in a route's template, `:` begins a parameter and `::` is a colon. A string with a
 * parameter is the template of a route, not a path.
 */
export function compileRoutes (patterns: readonly (string | RegExp)[], options: RouterOptions): RouteMatcher {
  const strings = patterns.filter(pattern => typeof pattern === 'string').map(pattern => normalise(pattern, options))
  const expressions = patterns.filter(pattern => pattern instanceof RegExp).map(pattern => fold(pattern, options))
  const templates = compilePaths(strings)
  const paths = compilePaths(strings.filter(pattern => isStatic(pattern.replace(/\/\*$/, ''))).map(unescape))
  // V8 compiles an expression at its first use, and again at its second: do both now
  for (const path of ['/', '/']) for (const expression of expressions) expression.test(path)
  const longest = STEPS_MAX / expressions.reduce((sum, expression) => sum + weigh(expression), 0)

  const matches = (path: string): boolean => expressions.some(expression => expression.test(path))

  /** Judges one of the forms in which the router knows the route. */
  function judge (template: string): Verdict {
    if (isStatic(template)) {
      const path = unescape(template)
      return paths.has(path) || templates.has(path) ? 'yes' : 'no'
    }
    if (templates.has(template)) return 'yes'
    return expressions.length > 0 || paths.hasPrefix(staticHead(template)) ? 'look' : 'no'
  }

  return {
    template (url) {
      const template = normalise(url, options)
      if (templates.isExact(template) || (isStatic(url) && matches(unescape(url)))) return 'yes'
      const verdicts = formsOf(template, options).map(judge)
      return verdicts.every(verdict => verdict === verdicts[0]) ? verdicts[0] as Verdict : 'look'
    },
    target (target) {
      const path = routerPath(target, options)
      return path !== null && (paths.has(path) || (path.length <= longest && matches(path)))
    }
  }
}

/** A copy that the caller cannot change later; it ignores case if the router does. */
function fold ({ source, flags }: RegExp, { caseSensitive }: RouterOptions): RegExp {
  return new RegExp(source, caseSensitive || flags.includes('i') ? flags : `${flags}i`)
}

/** Whether the template has no parameter or wildcard, and so matches only one path. */
const isStatic = (template: string): boolean => !/[:*]/.test(template.replaceAll('::', ''))

const unescape = (template: string): string => template.replaceAll('::', ':')

/** The router makes two routes of a template that ends with an optional parameter. */
function formsOf (template: string, options: RouterOptions): string[] {
  const optional = /(\/:[^/()]*?)\?(\/?)$/
  if (!optional.test(template)) return [template]
  return [template.replace(optional, '$1$2'), normalise(template.replace(optional, '$2') || '/', options)]
}

/** The template up to its first parameter, colon or wildcard, without the slash before that. */
const staticHead = (template: string): string => template.slice(0, template.search(/[:*]/)).replace(/\/$/, '')
