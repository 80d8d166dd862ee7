import { hostname, userInfo } from 'node:os'
import type { MaintenanceUpdate } from '../../types/index.ts'
import { checkCancelling, checkOpening, checkSet, checkUpdate, type Change } from '../state/change.ts'
import { cancelWindow, closeSite, openSite, updateWindow, type Edit } from '../state/edit.ts'
import { name as personName } from '../state/message.ts'
import { checkRun, type RunChange } from '../state/run.ts'
import { toPointInTime } from '../state/time.ts'
import { siteName } from '../util/site-name.ts'
import { isCommand, optionsOf, TOPICS, type CommandName, type Topic } from './commands.ts'
import { completionFor } from './completion.ts'
import { reasonOf, UsageError } from './output.ts'
import { sqlFor } from './sql.ts'
import { findStore, type StoreAddress } from './store-address.ts'
import { hint, quoteHint, readWords, showWord, WAIT_DEFAULT, type Words } from './tokens.ts'
import { changeWindow, readDuration, readUpdate, readWindow, refuse } from './window-options.ts'

/** What a command writes to each site. */
export interface Write {
  readonly change: Change
  readonly toEdit: (change: Change) => Edit
  /** Are the sites closed afterwards? `null`: that depends on what is stored. */
  readonly closes: boolean | null
}

/** What `run` is asked to do. */
export interface RunRequest {
  readonly argv: readonly string[]
  readonly change: RunChange
}

export interface Wait {
  /** ms */
  readonly timeout: number
  readonly assumeDead: boolean
}

export interface Command {
  readonly name: CommandName
  readonly sites: readonly string[]
  readonly store: StoreAddress
  readonly json: boolean
  readonly watch: boolean
  readonly force: boolean
  /** Whether and how to wait for the servers; `null`: not at all. */
  readonly wait: Wait | null
  readonly unquoted: string | null
  /** `null`: the command only reads. */
  readonly write: Write | null
  /** `null`: not the command `run`. */
  readonly run: RunRequest | null
  /** The arguments of `cancel`: which of them is a site shows when the store is read. */
  readonly args: readonly string[]
}

export type Asked = Command | { readonly help: Topic | null } | { readonly text: string } | 'version'

const WAIT_MAX = 86_400_000

/** Reads the command line; all of it is checked before anything is done. @throws UsageError */
export function readArguments (args: readonly string[], env: NodeJS.ProcessEnv): Asked {
  const end = args.indexOf('--')
  // what follows is the command of `run`, options included
  const words = readWords(end === -1 ? args : args.slice(0, end))
  const { values, positionals: [name = '', ...rest] } = words
  if (values.has('version')) return 'version'
  if (values.has('help') || name === 'help') return { help: toTopic(name === 'help' ? rest[0] : name) }
  if (name === 'completion') return { text: completionFor(rest[0]) }
  if (name === 'sql') return { text: readSqlRequest(rest, words, env) }
  if (name === '') throw new UsageError('no command')
  if (!isCommand(name)) return refuseCommand(name)
  const foreign = [...values.keys()].find(option => !optionsOf(name).includes(option))
  if (foreign !== undefined) throw new UsageError(`'${name}' has no option --${foreign}`)
  if (name === 'run') return readRun(rest, words, end === -1 ? [] : args.slice(end + 1), env)
  return readCommand(name, end === -1 ? rest : [...rest, ...args.slice(end + 1)], words, env)
}

/** What people type instead. */
const SYNONYMS: ReadonlyMap<string, CommandName> = new Map([['close', 'on'], ['open', 'off'], ['down', 'on'], ['up', 'off']])

function toTopic (name: string | undefined): Topic | null {
  if (name === undefined || name === '') return null
  return TOPICS.find(topic => topic === name) ?? refuseCommand(name)
}

function refuseCommand (name: string): never {
  throw new UsageError(`unknown command ${showWord(name)}${hint(SYNONYMS.get(name) ?? name)}`)
}

/** The SQL that creates the tables: for a named database, or for that of the store. */
function readSqlRequest ([dialect, ...others]: readonly string[], { values }: Words, env: NodeJS.ProcessEnv): string {
  const foreign = [...values.keys()].find(option => option !== 'store' && option !== 'prefix')
  if (foreign !== undefined) throw new UsageError(`'sql' has no option --${foreign}`)
  if (others.length > 0) throw new UsageError("'sql' takes one database")
  return sqlFor(dialect, values.get('store')?.[0], values.get('prefix')?.[0], env)
}

function readRun (names: readonly string[], words: Words, argv: readonly string[], env: NodeJS.ProcessEnv): Command {
  const { values } = words
  if (argv.length === 0) {
    throw new UsageError(
      `'run' needs a command behind --, such as: run -- ${names.length === 0 ? 'npm run migrate' : names.join(' ')}`
    )
  }
  if (names.length > 1) throw new UsageError(`'run' takes one site${quoteHint(words.unquoted)}`)
  if (values.has('wait') && values.has('no-wait')) {
    throw new UsageError('--wait and --no-wait contradict each other: give one of them')
  }
  const by = values.get('by')?.[0] ?? userAtHost(env)
  const lease = values.get('lease')?.[0]
  if (lease !== undefined) readDuration('lease', lease)
  const change = refusing(() =>
    checkRun(() => {}, { ...readWindow(values, by), lease, stayClosed: values.has('stay-closed') })
  )
  return {
    ...readCommand('run', names, words, env),
    run: { argv, change },
    wait: values.has('no-wait') ? null : readWait(values.get('wait')?.[0] ?? WAIT_DEFAULT, values.has('assume-dead'))
  }
}

function readCommand (name: CommandName, args: readonly string[], words: Words, env: NodeJS.ProcessEnv): Command {
  const { values, unquoted } = words
  const end = name === 'extend' ? args.at(-1) : undefined
  const names = name === 'extend' ? args.slice(0, -1) : name === 'cancel' ? args.slice(0, 1) : args
  if ((name === 'history' || name === 'servers') && args.length > 1) throw new UsageError(`'${name}' takes one site`)
  if (name === 'cancel' && args.length > 2) throw new UsageError(`'cancel' takes one site and one ID${quoteHint(unquoted)}`)
  return {
    name,
    sites: readSites(names, unquoted),
    store: findStore(values.get('store')?.[0], values.get('prefix')?.[0], env),
    json: values.has('json'),
    watch: values.has('watch'),
    force: values.has('force'),
    wait: readWait(values.get('wait')?.[0], values.has('assume-dead')),
    unquoted,
    run: null,
    write: refusing(() => readWrite(name, words, end, values.get('by')?.[0] ?? userAtHost(env))),
    args
  }
}

function readWrite (
  name: CommandName,
  { values, unquoted }: Words,
  end: string | undefined,
  by: string | undefined
): Write | null {
  const window = values.get('window')?.[0]
  switch (name) {
    case 'on': {
      const change = checkSet(readWindow(values, by))
      if (values.has('wait') && isLater(change)) {
        throw new UsageError('--wait has nothing to wait for: the site closes later')
      }
      return { change, toEdit: closeSite, closes: true }
    }
    case 'off': {
      const options = checkOpening({ by, force: values.has('force') })
      return { change: options, toEdit: () => openSite(options), closes: false }
    }
    case 'extend':
      return {
        change: checkUpdate({ endsAt: readEnd(end, unquoted), by }),
        toEdit: change => updateWindow(change, window),
        closes: null
      }
    case 'change':
      return {
        change: checkUpdate(notEmpty(readUpdate(values, by))),
        toEdit: change => changeWindow(change, values, window),
        closes: null
      }
    case 'cancel':
      return { change: checkCancelling({ by }), toEdit: ({ by = null }) => cancelWindow(undefined, by), closes: null }
    default:
      return null
  }
}

function notEmpty ({ by, ...rest }: MaintenanceUpdate): MaintenanceUpdate {
  if (Object.values(rest).every(value => value === undefined)) {
    throw new UsageError('nothing to change: name an option, such as --message')
  }
  return { ...rest, by }
}

/** Errors of a change name the options. */
function refusing<T> (work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new UsageError(reasonOf(error))
  }
}

const isLater = ({ startsAt }: Change): boolean =>
  startsAt !== undefined && startsAt !== null && ('after' in startsAt || Date.parse(startsAt.at) > Date.now())

function readEnd (text: string | undefined, unquoted: string | null): string {
  if (text === undefined) throw new UsageError("'extend' needs a duration or a time: extend 30m")
  const end = /^\d/.test(text) && !text.includes('T') ? `+${text}` : text
  if (/^\d+$/.test(text)) throw new UsageError(`extend ${text}: ${text} what? ${text}m, ${text}h`)
  if (toPointInTime(end) === null) {
    throw new UsageError(
      `extend: ${showWord(text)} is neither a duration such as 30m nor a time such as 2026-12-01T03:00:00Z${quoteHint(unquoted)}`
    )
  }
  return end
}

function readWait (duration: string | undefined, assumeDead: boolean): Wait | null {
  if (duration === undefined && assumeDead) {
    throw new UsageError('--assume-dead says what --wait need not wait for: add --wait')
  }
  if (duration === undefined) return null
  const length = readDuration('wait', duration)
  return length > WAIT_MAX ? refuse('wait', duration, 'at most a day') : { timeout: length, assumeDead }
}

function readSites (names: readonly string[], unquoted: string | null): string[] {
  const wrong = names.find(name => !siteName.test(name))
  if (wrong !== undefined) throw new UsageError(`site ${showWord(wrong)}: expected ${siteName.expected}${quoteHint(unquoted)}`)
  return names.length === 0 ? ['default'] : [...new Set(names)]
}

/** Who makes a change, unless `--by` says so. */
function userAtHost (env: NodeJS.ProcessEnv): string | undefined {
  const by = `${env.SUDO_USER ?? userName(env)}@${hostname()}`
  return personName.test(by) ? by : undefined
}

/** A user id without an entry in /etc/passwd has no name. */
function userName (env: NodeJS.ProcessEnv): string {
  try {
    return userInfo().username
  } catch {
    return env.USER ?? 'unknown'
  }
}
