import { normalise, routerPath, type RouterOptions } from './path.ts'
import { weigh } from './safe-regexp.ts'
import { compileStrings } from './path-set.ts'

/** What the matcher says of a route: every request to it, none, or only a look at the path can tell. */
export type Verdict = 'yes' | 'no' | 'look'

export interface RouteMatcher {
  /** Decides by the route's own template (`request.routeOptions.url`); to be remembered per route. */
  template (url: string): Verdict
  /** Decides by the raw request target; only asked where `template` says `'look'`. */
  target (target: string): boolean
}

export const PATTERN_EXPECTED = "a path such as '/health', or '/admin/*' for all below it (decoded; no '?', '#', '%', '//', '.', '..' or control characters; '*' only as the last segment)"

/** Control characters and unpaired surrogates: no path that is looked at has any, so such a pattern is a mistake. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u

/** Is it a string pattern that `compileRoutes` takes? */
export function isPattern (pattern: unknown): pattern is string {
  return typeof pattern === 'string' && pattern.startsWith('/') &&
    !/[?#%\\]|\/\/|\/\.{1,2}(?:\/|$)/.test(pattern) && !UNPRINTABLE.test(pattern) &&
    !pattern.replace(/\/\*$/, '').includes('*')
}

/** All expressions together may take so many steps on one path, some 2 ms: a longer path is not looked at. */
const STEPS_MAX = 2_000_000

/**
 * @param patterns checked before. As in a route's template, a `:` begins a parameter, and `::` is a colon: with a
 * parameter a string is the template of a route, not a path.
 */
export function compileRoutes (patterns: readonly (string | RegExp)[], options: RouterOptions): RouteMatcher {
  const strings = patterns.filter(pattern => typeof pattern === 'string').map(pattern => normalise(pattern, options))
  const expressions = patterns.filter(pattern => pattern instanceof RegExp).map(pattern => fold(pattern, options))
  const templates = compileStrings(strings)
  const paths = compileStrings(strings.filter(pattern => isStatic(pattern.replace(/\/\*$/, ''))).map(unescape))
  // the engine compiles an expression at its first use, and again at its second
  for (const path of ['/', '/']) for (const expression of expressions) expression.test(path)
  const longest = STEPS_MAX / expressions.reduce((sum, expression) => sum + weigh(expression), 0)

  const matches = (path: string): boolean => expressions.some(expression => expression.test(path))

  /** Of one path that the router knows the route by. */
  function judge (template: string): Verdict {
    if (isStatic(template)) {
      const path = unescape(template)
      return paths.has(path) || templates.has(path) ? 'yes' : 'no'
    }
    if (templates.has(template)) return 'yes'
    return expressions.length > 0 || paths.mayHold(staticHead(template)) ? 'look' : 'no'
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

/** A copy that nobody else can change; where the router does not tell cases apart, neither does it. */
function fold ({ source, flags }: RegExp, { caseSensitive }: RouterOptions): RegExp {
  return new RegExp(source, caseSensitive || flags.includes('i') ? flags : `${flags}i`)
}

/** Does it stand for one path only? */
const isStatic = (template: string): boolean => !/[:*]/.test(template.replaceAll('::', ''))

const unescape = (template: string): string => template.replaceAll('::', ':')

/** With an optional parameter at its end, the router has two routes of one template. */
function formsOf (template: string, options: RouterOptions): string[] {
  const optional = /(\/:[^/()]*?)\?(\/?)$/
  if (!optional.test(template)) return [template]
  return [template.replace(optional, '$1$2'), normalise(template.replace(optional, '$2') || '/', options)]
}

/** The template up to its first parameter, colon or wildcard, without the slash before it. */
const staticHead = (template: string): string => template.slice(0, template.search(/[:*]/)).replace(/\/$/, '')
