import { parseArgs } from 'node:util'
import { codeOf, messageOf, show } from '../errors.ts'
import { siteName } from '../options.ts'
import { DURATION_EXPECTED, parseDuration } from '../state/time.ts'
import { ADDRESS_EXPECTED, describeAddress, parseAddress } from '../stores/address.ts'
import type { StoreOption } from '../stores/options.ts'
import { didYouMean } from '../util/did-you-mean.ts'
import { showType } from '../util/show.ts'
import { ALL_OPTIONS, COMMANDS, COMMON, isCommand, type CommandName } from './options.ts'

/** The command line is wrong: nothing was done. */
export class UsageError extends Error {}

export type Values = ReturnType<typeof parseAll>['values']

export interface Call {
  readonly name: CommandName
  /** What follows the name: sites, and what a command takes besides. */
  readonly words: readonly string[]
  readonly values: Values
}

/**
 * Reads the command line.
 * @throws UsageError
 */
export function parseCall (args: readonly string[]): Call {
  const { values, positionals: [name, ...words] } = parseAll(args)
  if (name === undefined) {
    if (values.help === true || values.version === true) return { name: 'help', words, values }
    throw new UsageError('no command')
  }
  if (!isCommand(name)) throw new UsageError(`unknown command ${showWord(name)}${hint(name, Object.keys(COMMANDS))}`)
  const foreign = Object.keys(values).find(option => !Object.hasOwn(COMMON, option) && !Object.hasOwn(COMMANDS[name], option))
  if (foreign !== undefined) throw new UsageError(`'${name}' has no option --${foreign}`)
  return { name, words, values }
}

function parseAll (args: readonly string[]) {
  try {
    return parseArgs({ args: args.map(withWaitDefault), allowPositionals: true, strict: true, options: ALL_OPTIONS })
  } catch (error) {
    throw new UsageError(wrongOption(error) ?? messageOf(error).replaceAll('\n', ' '))
  }
}

/** A word that may be the address of a store, in the wrong place, is not shown. */
const showWord = (word: string): string => /[:@]/.test(word) ? showType(word) : show(word)

/** Node's own message would explain how a positional argument can begin with a dash. */
function wrongOption (error: unknown): string | null {
  if (codeOf(error) !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return null
  const [, name = ''] = /'(-[^']*)'/.exec(messageOf(error)) ?? []
  return `unknown option ${show(name)}${hint(name, Object.keys(ALL_OPTIONS).map(option => `--${option}`))}`
}

function hint (word: string, known: readonly string[]): string {
  const meant = didYouMean(word, known)
  return meant === null ? '' : `. Did you mean ${meant}?`
}

/** What `--wait` alone means. */
const WAIT_DEFAULT = '30s'
const WAIT_MAX = 86_400_000

/** `--wait` alone must not take the site after it for its value; a duration that follows was meant as one. */
function withWaitDefault (arg: string, i: number, args: readonly string[]): string {
  if (arg !== '--wait') return arg
  const next = args[i + 1] ?? ''
  if (/^\d+$/.test(next) || parseDuration(next) !== null) throw new UsageError(`use --wait=${next}`)
  return `--wait=${WAIT_DEFAULT}`
}

/** @returns ms; `null`: no wait */
export function readWait (duration: string | undefined): number | null {
  return duration === undefined ? null : readDuration('--wait', duration, WAIT_MAX)
}

/** @returns ms */
export function readDuration (name: string, text: string, max = Infinity): number {
  if (/^\d+$/.test(text)) throw new UsageError(`${name} is ${show(text)}: ${text} what? ${text}s, ${text}m`)
  const length = parseDuration(text)
  if (length === null || length > max) throw new UsageError(`${name} is ${show(text)}, expected ${DURATION_EXPECTED}${max === Infinity ? '' : ', at most a day'}`)
  return length
}

export function readSites (names: readonly string[]): string[] {
  const wrong = names.find(name => !siteName.test(name))
  if (wrong !== undefined) throw new UsageError(`site ${showWord(wrong)}: expected ${siteName.expected}`)
  return names.length === 0 ? ['default'] : [...new Set(names)]
}

/** An address that is wrong is not shown: it may contain a password. */
export function readStoreAddress ({ store, prefix }: Values, env: NodeJS.ProcessEnv): StoreOption {
  const address = store ?? env.MAINTENANCE_STORE
  const expected = `expected ${ADDRESS_EXPECTED}, by --store or the variable MAINTENANCE_STORE`
  if (address === undefined) throw new UsageError(`no store: ${expected}`)
  const option = parseAddress(address)
  if (option === null) throw new UsageError(`the store is ${describeAddress(address)}, ${expected}`)
  if (prefix === undefined) return option
  if ('file' in option) throw new UsageError('--prefix is for a Redis store')
  return { ...option, prefix }
}
