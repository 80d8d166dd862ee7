import { cut } from './show.ts'

/** A name from outside may be of any length. */
const NAME_SHOWN = 100

/** What a value must be: a test, and the words for the error. */
export interface Rule {
  readonly expected: string
  readonly test: (value: unknown) => boolean
}

export type Shape = { readonly [name: string]: Rule | Shape }

/**
 * Makes the error of an option, a change or a record.
 * @param known the names that exist beside it: given if there is no such name
 */
export type Fail = (name: string, value: unknown, expected: string, known?: readonly string[]) => Error

export const bool: Rule = { expected: 'true or false', test: value => typeof value === 'boolean' }
export const func: Rule = { expected: 'a function', test: value => typeof value === 'function' }

export const text = (max: number): Rule => ({
  expected: `text of 1 to ${max} characters`,
  test: value => typeof value === 'string' && value.trim() !== '' && value.length <= max
})

export const integer = (min: number, max: number, unit = ''): Rule => ({
  expected: `an integer from ${min} to ${max}${unit}`,
  test: value => Number.isInteger(value) && Number(value) >= min && Number(value) <= max
})

/** As in `Retry-After`: a second to a year. */
export const seconds = integer(1, 31536000, ' (seconds)')

export const literal = (...values: unknown[]): Rule => ({
  expected: values.map(value => typeof value === 'string' ? `'${value}'` : String(value)).join(' or '),
  test: value => values.includes(value)
})

export const either = (...rules: Rule[]): Rule => ({
  expected: rules.map(rule => rule.expected).join(', or '),
  test: value => rules.some(rule => rule.test(value))
})

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * Checks an object that came from outside: unknown names and wrong values are refused, by the
 * error that `fail` makes. `undefined` counts as not named.
 */
export function checkShape (shape: Shape, value: unknown, fail: Fail, path = ''): void {
  if (!isObject(value)) throw fail(path, value, 'an object')
  const names = Object.keys(shape)
  for (const name of Object.keys(value).filter(name => value[name] !== undefined)) {
    const prefix = path === '' ? '' : `${path}.`
    const at = `${prefix}${cut(name, NAME_SHOWN)}`
    const rule = Object.hasOwn(shape, name) ? shape[name] : undefined
    if (rule === undefined) {
      throw fail(
        at,
        value[name],
        `one of the names ${names.join(', ')}`,
        names.map(known => prefix + known)
      )
    }
    checkValue(rule, value[name], fail, at)
  }
}

/** The same, where every name must be there. */
export function checkWhole (shape: Shape, value: unknown, fail: Fail): void {
  checkShape(shape, value, fail)
  const missing = Object.keys(shape).find(name => (value as Record<string, unknown>)[name] === undefined)
  if (missing !== undefined) throw fail(missing, undefined, 'a value')
}

export function isWhole (shape: Shape, value: unknown): boolean {
  try {
    checkWhole(shape, value, name => new Error(name))
    return true
  } catch {
    return false
  }
}

function checkValue (rule: Rule | Shape, value: unknown, fail: Fail, path: string): void {
  if (!isRule(rule)) return checkShape(rule, value, fail, path)
  if (!rule.test(value)) throw fail(path, value, rule.expected)
}

export const isRule = (rule: Rule | Shape): rule is Rule => typeof rule.test === 'function'
