import type { ParseArgsConfig } from 'node:util'

type Options = NonNullable<ParseArgsConfig['options']>

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const list = { type: 'string', multiple: true } as const

/** Every command has these. */
export const COMMON = {
  store: text, prefix: text, json: flag, help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'v' }
} as const satisfies Options

const WINDOW = {
  message: text,
  'message-lang': list,
  mode: text,
  'starts-at': text,
  in: text,
  'ends-at': text,
  for: text,
  'retry-after': text,
  'ignore-route': list,
  'ignore-ip': list,
  'only-route': list,
  bypass: flag
} as const satisfies Options

const UNSET = {
  'no-message': flag, 'no-end': flag, 'no-retry-after': flag, 'no-bypass': flag, 'no-ignore-route': list, 'no-ignore-ip': list, 'no-only-route': list
} as const satisfies Options

const WRITE = { by: text, wait: text } as const satisfies Options

/** What each command takes besides. */
export const COMMANDS = {
  on: { ...WINDOW, ...WRITE, force: flag },
  off: { ...WRITE, force: flag },
  extend: { ...WRITE, window: text },
  change: { ...WINDOW, ...UNSET, ...WRITE, window: text },
  cancel: { by: text },
  status: { watch: flag },
  history: {},
  servers: {},
  help: {}
} as const satisfies Readonly<Record<string, Options>>

export type CommandName = keyof typeof COMMANDS

export const ALL_OPTIONS = { ...COMMON, ...WINDOW, ...UNSET, ...WRITE, force: flag, window: text, watch: flag } as const satisfies Options

export const isCommand = (name: string): name is CommandName => Object.hasOwn(COMMANDS, name)
