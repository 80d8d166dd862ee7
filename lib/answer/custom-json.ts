import type { TemplateVariables } from '../../types/index.ts'
import { JsonError, messageOf } from '../errors.ts'
import { isObject } from '../util/validate.ts'

/**
 * The JSON body in the application's own shape.
 * @throws FST_ERR_MAINTENANCE_TEMPLATE if the function throws, or returns no object
 */
export function renderJson (json: (state: TemplateVariables) => object, variables: TemplateVariables): string {
  try {
    const made: unknown = json({ ...variables })
    if (isObject(made) && typeof made.then === 'function') {
      Promise.resolve(made).catch(() => {})
      throw new Error('it returned a promise')
    }
    const text: unknown = isObject(made) ? JSON.stringify(made) : undefined
    if (typeof text !== 'string') throw new Error('it returned no object')
    return text
  } catch (error) {
    throw new JsonError(messageOf(error), { cause: error })
  }
}
