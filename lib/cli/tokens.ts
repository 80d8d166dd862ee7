import { parseArgs, type ParseArgsConfig } from 'node:util'
import { didYouMean } from '../util/did-you-mean.ts'
import { show, showType } from '../util/show.ts'
import { parseDuration } from '../util/duration.ts'
import { isCommand, optionsOf, TOPICS } from './commands.ts'
import { isOption, OPTIONS, specOf, type OptionName } from './options.ts'
import { UsageError } from './output.ts'

/** What the words of a command line say. */
export interface Words {
  readonly values: ReadonlyMap<OptionName, readonly string[]>
  readonly positionals: readonly string[]
  /** The text that was probably meant where a quote was forgotten: `--message "Back in ten minutes"`. */
  readonly unquoted: string | null
}

const CONFIG = Object.fromEntries(Object.keys(OPTIONS).map(name => {
  const { value, optional, multiple = false, short } = specOf(name as OptionName)
  return [
    name,
    {
      type: value === undefined || optional === true ? 'boolean' : 'string',
      multiple,
      ...(short === undefined ? {} : { short })
    }
  ]
})) as NonNullable<ParseArgsConfig['options']>

/** Options whose value is often several words. */
const TEXTS: readonly OptionName[] = ['message', 'message-lang', 'by']

/** What `--wait` alone means. */
export const WAIT_DEFAULT = '30s'

/** @throws UsageError */
export function readWords (args: readonly string[]): Words {
  const { tokens } = parseArgs({
    args: [...args],
    options: CONFIG,
    strict: false,
    allowPositionals: true,
    tokens: true
  })
  const values = new Map<OptionName, string[]>()
  const positionals: string[] = []
  const texts: { option: OptionName, words: string[] }[] = []
  let text: string[] | null = null
  for (const token of tokens) {
    if (token.kind === 'positional') {
      positionals.push(token.value)
      text?.push(token.value)
    } else if (token.kind === 'option') {
      const name = checkName(token.name, token.rawName, args)
      const value = valueOf(name, token.value, token.inlineValue, args[token.index + 1])
      const before = values.get(name) ?? []
      if (before.length > 0 && specOf(name).multiple !== true) throw new UsageError(`--${name} is given twice`)
      values.set(name, [...before, value])
      text = TEXTS.includes(name) ? [value] : null
      if (text !== null) texts.push({ option: name, words: text })
    }
  }
  const meant = texts
    .filter(({ words }) => words.length > 1)
    .map(({ option, words }) => `--${option} "${words.join(' ')}"`)
  return { values, positionals, unquoted: meant.length === 0 ? null : meant.join(' ') }
}

function checkName (name: string, written: string, args: readonly string[]): OptionName {
  if (isOption(name)) return name
  const command = args.find(isCommand)
  const known = command === undefined ? Object.keys(OPTIONS) : optionsOf(command)
  throw new UsageError(`unknown option ${show(written)}${hint(name, known, '--')}`)
}

function valueOf (name: OptionName, value: string | undefined, inline: boolean | undefined, next = ''): string {
  const spec = specOf(name)
  if (spec.optional === true) {
    if (value === undefined && (/^\d+$/.test(next) || parseDuration(next) !== null)) {
      throw new UsageError(`use --${name}=${next}`)
    }
    return value ?? WAIT_DEFAULT
  }
  if (spec.value === undefined) {
    if (value !== undefined) throw new UsageError(`--${name} takes no value`)
    return ''
  }
  if (value === undefined) throw new UsageError(`--${name} needs a value: --${name} ${spec.value}`)
  if (inline !== true && /^-./.test(value)) {
    throw new UsageError(`--${name} needs a value; one that begins with a dash is written --${name}=…`)
  }
  return value
}

/** `. Did you mean status?` */
export function hint (word: string, known: readonly string[] = TOPICS, prefix = ''): string {
  const meant = didYouMean(word, known)
  return meant === null ? '' : `. Did you mean ${prefix}${meant}?`
}

/** `. Did you forget to quote the message? --message "Back in ten minutes"` */
export const quoteHint = (unquoted: string | null): string =>
  unquoted === null ? '' : `. Did you forget to quote the message? ${unquoted}`

/** What may be the address of a store, at the wrong place, is not shown. */
export const showWord = (word: string): string => /[:@]/.test(word) ? showType(word) : show(word)
