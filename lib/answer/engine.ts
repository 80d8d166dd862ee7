import { existsSync, readFileSync } from 'node:fs'
import { extname, resolve } from 'node:path'

/** What files of other engines are called. */
const OTHERS = [
  '.art',
  '.dot',
  '.edge',
  '.handlebars',
  '.hbs',
  '.jade',
  '.liquid',
  '.mustache',
  '.njk',
  '.nunjucks',
  '.pug',
  '.twig'
]

/** Variables and statements of other engines, in a file that has no tag of Eta. */
const FOREIGN_TAG = /\{\{[^{}\n]+\}\}|\{%[^\n]*%\}/

/**
 * Without an `@fastify/view` of the application, templates are rendered by Eta, which sends the tags of other engines
 * to visitors as they are.
 * @returns what is wrong with it, and what to do; `null` if nothing is, or the file is missing, which its rendering
 * will say
 */
export function whyNotEta (template: string): string | null {
  const file = resolve(template)
  if (!isForeign(file)) return null
  return (
    'it is a template of another engine, and no @fastify/view is registered on the instance of fastify-maintenance; register ' +
    'it there, outside of any child context, or write the template for Eta (<%= it.message %>)'
  )
}

function isForeign (file: string): boolean {
  if (OTHERS.includes(extname(file).toLowerCase())) return true
  if (!existsSync(file)) return false
  const source = readFileSync(file, 'utf8')
  return !source.includes('<%') && FOREIGN_TAG.test(source)
}
