import { codeOf, messageOf } from '../errors.ts'
import { escapeControls, toSafeJson } from '../util/escape.ts'

export const EXIT = { done: 0, failed: 1, usage: 2, unsafe: 3, closed: 4, notExecutable: 126, notFound: 127 } as const

/** Where the command's text goes. */
export interface Output {
  out (text: string): void
  err (text: string): void
  /** Can lines be written over? */
  readonly terminal?: boolean
  /** Are colours welcome? */
  readonly color?: boolean
  /** Ctrl-C. */
  readonly signal?: AbortSignal
}

/** Wrong use, or something that the state or the servers don't allow: nothing was written. */
export class UsageError extends Error {}

/** Nothing was written because of what was asked. */
const REFUSED: readonly unknown[] = ['FST_ERR_MAINTENANCE_CHANGE', 'FST_ERR_MAINTENANCE_RUNNING']

export const isRefusal = (error: unknown): boolean => error instanceof UsageError || REFUSED.includes(codeOf(error))

/** What went wrong, in the words of the command line; the name of the command is printed before it. */
export const reasonOf = (error: unknown): string =>
  isRefusal(error) ? inOptions(withoutName(error)) : withoutName(error)

const withoutName = (error: unknown): string => messageOf(error).replace(/^maintenance: /, '')

const FIELDS =
  /^(message|mode|startsAt|endsAt|retryAfter|bypass|by|ignoreRoute|ignoreIp|onlyRoute)(?:s\[\d+\](?:\.pattern)?)? is /

/** Errors of a change name its fields: `endsAt` is `--ends-at` here. */
function inOptions (text: string): string {
  return text
    .replace(FIELDS, (_match, field: string) => `${optionOf(field)} is `)
    .replace('expected a Date, ', 'expected ')
    .replace(/(?<=[Uu]se )force(?= to end it)/, '--force')
}

/** @param field `endsAt` @returns `--ends-at` */
export const optionOf = (field: string): string => `--${field.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`

/** A problem, on stderr; it may quote what is stored. */
export function tell ({ err }: Output, message: string): void {
  err(`fastify-maintenance: ${escapeControls(message)}\n`)
}

/** A line for people; it may quote what is stored. */
export const toLine = (text: string): string => `${escapeControls(text)}\n`

const COLORS = { open: 32, closed: 31 } as const

/** Colours the state of each site or server: `default: closed (full) since …`, `web-1 (process 7): open, …`. */
export function colored (text: string, { color = false }: Output): string {
  if (!color) return text
  return text.replace(
    /^(\S[^:\n]*: )(open|closed)\b/gm,
    (_match, name: string, state: keyof typeof COLORS) => `${name}\u001b[${COLORS[state]}m${state}\u001b[39m`
  )
}

/** The one form of all JSON documents. */
export const toDocument = (sites: readonly object[], indent?: number): string =>
  `${toSafeJson({ v: 1, sites }, indent)}\n`
