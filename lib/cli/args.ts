import { parseArgs, type ParseArgsConfig } from 'node:util'
import type { MaintenanceChange } from '../../types/index.ts'
import { codeOf, messageOf, show } from '../errors.ts'
import { didYouMean } from '../util/did-you-mean.ts'
import { showType } from '../util/show.ts'
import { siteName } from '../options.ts'
import { checkChange, type CheckedChange } from '../state/change.ts'
import { DURATION_EXPECTED, parseDuration, toTime } from '../state/time.ts'
import { ADDRESS_EXPECTED, describeAddress, parseAddress } from '../stores/address.ts'
import type { StoreOption } from '../stores/options.ts'

/** Wrong use: nothing was done. */
export class UsageError extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>

const EVERYWHERE = {
  store: { type: 'string' },
  prefix: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
  version: { type: 'boolean' }
} satisfies Options

const ON = {
  message: { type: 'string' },
  mode: { type: 'string' },
  'starts-at': { type: 'string' },
  'ends-at': { type: 'string' },
  for: { type: 'string' },
  'retry-after': { type: 'string' },
  'ignore-route': { type: 'string', multiple: true },
  bypass: { type: 'boolean' },
  by: { type: 'string' },
  wait: { type: 'string' }
} satisfies Options

const STATUS = { watch: { type: 'boolean' } } satisfies Options

const COMMANDS: { readonly [command in Command['name']]: Options } = {
  on: ON,
  off: { by: ON.by, wait: ON.wait },
  status: STATUS,
  history: {},
  servers: {}
}

const OPTIONS = { ...EVERYWHERE, ...ON, ...STATUS } satisfies Options

/** What `--wait` alone means. */
const WAIT_DEFAULT = '30s'
const WAIT_MAX = 86_400_000

export interface Command {
  readonly name: 'on' | 'off' | 'status' | 'history' | 'servers'
  readonly sites: readonly string[]
  readonly store: StoreOption
  readonly json: boolean
  /** Of `status`: goes on until it is interrupted. */
  readonly watch: boolean
  /** Of `on` and `off`: how long to wait for the servers, ms; `null`: not at all. */
  readonly wait: number | null
  /** What `on` and `off` write. */
  readonly change: CheckedChange
}

/**
 * Reads the command line; all of it is checked before anything is done.
 * @throws UsageError
 */
export function readArguments (args: readonly string[], env: NodeJS.ProcessEnv, now = Date.now()): Command | 'help' | 'version' {
  const { values, positionals: [name = '', ...sites] } = parse(args)
  if (values.help === true) return 'help'
  if (values.version === true) return 'version'
  if (!isCommand(name)) throw new UsageError(name === '' ? 'no command' : `unknown command ${showWord(name)}${hint(name, Object.keys(COMMANDS))}`)
  const foreign = Object.keys(values).find(option => !Object.hasOwn(EVERYWHERE, option) && !Object.hasOwn(COMMANDS[name], option))
  if (foreign !== undefined) throw new UsageError(`'${name}' has no option --${foreign}`)
  if ((name === 'history' || name === 'servers') && sites.length > 1) throw new UsageError(`'${name}' takes one site`)
  return {
    name,
    sites: readSites(sites),
    store: readStore(values.store ?? env.MAINTENANCE_STORE, values.prefix),
    json: values.json === true,
    watch: values.watch === true,
    wait: readWait(values.wait),
    change: name === 'on' ? readChange(values, now) : check(false, pick({ by: values.by }), now)
  }
}

type Values = ReturnType<typeof parse>['values']

function parse (args: readonly string[]) {
  try {
    return parseArgs({ args: args.map(withWaitDefault), allowPositionals: true, strict: true, options: OPTIONS })
  } catch (error) {
    throw new UsageError(wrongOption(error) ?? messageOf(error).replaceAll('\n', ' '))
  }
}

/** What may be the address of a store, at the wrong place, is not shown. */
const showWord = (word: string): string => /[:@]/.test(word) ? showType(word) : show(word)

/** Node's own words would explain how a positional argument can begin with a dash. */
function wrongOption (error: unknown): string | null {
  if (codeOf(error) !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return null
  /* c8 ignore next -- Node may change its words */
  const [, name = ''] = /'(-[^']*)'/.exec(messageOf(error)) ?? []
  return `unknown option ${show(name)}${hint(name, Object.keys(OPTIONS).map(option => `--${option}`))}`
}

function hint (word: string, known: readonly string[]): string {
  const meant = didYouMean(word, known)
  return meant === null ? '' : `. Did you mean ${meant}?`
}

/** Alone, it must not take the site behind it for its value; a time that stands there was meant as one, not as a site. */
function withWaitDefault (arg: string, i: number, args: readonly string[]): string {
  if (arg !== '--wait') return arg
  const next = args[i + 1] ?? ''
  if (/^\d+$/.test(next) || parseDuration(next) !== null) throw new UsageError(`use --wait=${next}`)
  return `--wait=${WAIT_DEFAULT}`
}

function readWait (duration: string | undefined): number | null {
  if (duration === undefined) return null
  const length = parseDuration(duration)
  if (length === null || length > WAIT_MAX) throw new UsageError(`--wait is ${show(duration)}, expected ${DURATION_EXPECTED}, at most a day`)
  return length
}

const isCommand = (name: string): name is Command['name'] => Object.hasOwn(COMMANDS, name)

function readSites (names: string[]): string[] {
  const wrong = names.find(name => !siteName.test(name))
  if (wrong !== undefined) throw new UsageError(`site ${showWord(wrong)}: expected ${siteName.expected}`)
  return names.length === 0 ? ['default'] : [...new Set(names)]
}

function readStore (address: string | undefined, prefix: string | undefined): Command['store'] {
  const expected = `expected ${ADDRESS_EXPECTED}, by --store or the variable MAINTENANCE_STORE`
  if (address === undefined) throw new UsageError(`no store: ${expected}`)
  const store = parseAddress(address)
  if (store === null) throw new UsageError(`the store is ${describeAddress(address)}, ${expected}`)
  if (prefix === undefined) return store
  if ('file' in store) throw new UsageError('--prefix is for a Redis store')
  return { ...store, prefix }
}

function readChange (values: Values, now: number): CheckedChange {
  const { message, mode, by, 'starts-at': startsAt, 'ends-at': endsAt, for: duration, 'retry-after': retryAfter, 'ignore-route': ignoreRoutes } = values
  if (duration !== undefined && endsAt !== undefined) throw new UsageError('--for and --ends-at name the same: give one of them')
  return check(true, pick({
    message,
    // checked by `checkChange`, with the words for what is wrong
    mode: mode as MaintenanceChange['mode'],
    startsAt,
    endsAt: duration === undefined ? endsAt : endOf(duration, startsAt, now),
    retryAfter: retryAfter === undefined ? undefined : toNumber(retryAfter),
    ignoreRoutes,
    bypass: values.bypass,
    by
  }), now)
}

const toNumber = (digits: string): number => /^\d+$/.test(digits) ? Number(digits) : NaN

/** Counted from the start of the window. A start that is no time is told by `checkChange`. */
function endOf (duration: string, startsAt: string | undefined, now: number): string | undefined {
  const length = parseDuration(duration)
  if (length === null) throw new UsageError(`--for is ${show(duration)}, expected ${DURATION_EXPECTED}`)
  const start = startsAt === undefined ? now : Date.parse(toTime(startsAt) ?? '')
  return Number.isNaN(start) ? undefined : new Date(start + length).toISOString()
}

/** Options that were not given are not named. */
function pick (change: { [name in keyof MaintenanceChange]: MaintenanceChange[name] | undefined }): MaintenanceChange {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))
}

/** The error names the option as it is typed here: `--ends-at`, not `endsAt`. */
function check (on: boolean, change: MaintenanceChange, now: number): CheckedChange {
  try {
    return checkChange(on, change, now)
  } catch (error) {
    throw new UsageError(messageOf(error)
      .replace(/^maintenance: ignoreRoutes\[\d+\]\.pattern/, '--ignore-route')
      .replace(/^maintenance: (\w+)/, (_match, name: string) => `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`))
  }
}
