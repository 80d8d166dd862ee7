import type { AdminTexts, FastifyMaintenanceAdminOptions } from '../../types/admin.ts'
import { checkShape, checkWhole, func, isObject, text, type Rule, type Shape } from '../util/validate.ts'
import { InvalidOptionError, OptionError, show } from '../errors.ts'
import { suggest } from '../util/did-you-mean.ts'
import { TEXTS } from './texts.ts'

export interface AdminSettings {
  readonly authorize: FastifyMaintenanceAdminOptions['authorize']
  readonly texts: ReadonlyMap<string, AdminTexts>
}

const anything: Rule = { expected: '', test: () => true }

const SHAPE: Shape = {
  authorize: func,
  texts: anything,
  prefix: anything,
  logLevel: anything,
  logSerializers: anything
}

const LANGUAGE = /^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$/

const words: Shape = Object.fromEntries(Object.keys(TEXTS.en).map(name => [name, text(1000)]))

/** @throws FST_ERR_MAINTENANCE_OPTION */
export function readAdminOptions (options: FastifyMaintenanceAdminOptions): AdminSettings {
  checkShape(SHAPE, options, fail)
  const { authorize, texts = TEXTS } = options
  if (authorize === undefined) {
    throw fail(
      'authorize',
      authorize,
      "a function (request, reply) that returns true or the user's name to let a request in: this page can close the site"
    )
  }
  if (!isObject(texts) || Object.keys(texts).length === 0) throw fail('texts', texts, 'an object of texts by language')
  for (const [language, entry] of Object.entries(texts)) {
    if (!LANGUAGE.test(language)) throw fail('texts', language, "a language such as 'fr' before each texts")
    checkWhole(words, entry, (name, value, expected, known) =>
      fail(`texts.${language}.${name}`, value, expected, known)
    )
  }
  return { authorize, texts: new Map(Object.entries(texts)) }
}

function fail (name: string, value: unknown, expected: string, known?: readonly string[]): Error {
  if (known !== undefined) {
    return new InvalidOptionError(`unknown option '${name}' of the admin page. ${suggest(name, known)}`)
  }
  return new OptionError(name, show(value), expected)
}
