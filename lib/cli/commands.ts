import type { OptionName } from './options.ts'

/** What a command is called, takes and does. */
export interface CommandSpec {
  /** Its arguments, as they are written in the help. */
  readonly usage: string
  readonly summary: string
  readonly options: readonly OptionName[]
  /** What `--force` means, if the command has it. */
  readonly force?: string
  readonly examples: readonly string[]
}

/** Every command has these. */
export const EVERYWHERE: readonly OptionName[] = ['store', 'prefix', 'json', 'help', 'version']

const WINDOW: readonly OptionName[] = [
  'message',
  'message-lang',
  'mode',
  'starts-at',
  'in',
  'ends-at',
  'for',
  'retry-after',
  'ignore-route',
  'ignore-ip',
  'only-route',
  'bypass'
]

/** A run begins now. */
const RUN_WINDOW = WINDOW.filter(name => name !== 'starts-at' && name !== 'in')

export const COMMANDS = {
  on: {
    usage: '[site…]',
    summary: 'close sites now, or announce maintenance for later',
    options: [...WINDOW, 'by', 'wait', 'assume-dead', 'force'],
    force: 'also a site that is neither stored nor served by a running server',
    examples: [
      'on --message "Back in ten minutes" --for 10m',
      'on shop --mode read-only --ignore-ip 192.0.2.7',
      'on --in 2h --for 30m --message "Moving to a new database"',
      'on --only-route "/checkout/*"',
      'on --wait=60s && ./migrate.sh && fastify-maintenance off'
    ]
  },
  off: {
    usage: '[site…]',
    summary: 'open sites; maintenance that is announced for later stays announced',
    options: ['by', 'wait', 'assume-dead', 'force'],
    force: 'end runs that keep the site closed; also a site that is neither stored nor served',
    examples: ['off', 'off shop blog', 'off --force']
  },
  extend: {
    usage: '[site…] DURATION|TIME',
    summary: 'move the end: by a duration from the current end, or to a time',
    options: ['window', 'by'],
    examples: ['extend 30m', 'extend shop 2026-12-01T04:00:00Z']
  },
  change: {
    usage: '[site…]',
    summary: 'change only what is named, and keep the rest',
    options: [
      ...WINDOW,
      'no-message',
      'no-end',
      'no-retry-after',
      'no-ignore-route',
      'no-ignore-ip',
      'no-only-route',
      'no-bypass',
      'window',
      'by',
      'wait',
      'assume-dead',
      'force'
    ],
    force: 'create a link for testers although no server is running',
    examples: [
      'change --message "It takes a little longer"',
      'change --ignore-ip 192.0.2.7',
      'change --no-ignore-ip 192.0.2.7',
      'change --mode read-only'
    ]
  },
  cancel: {
    usage: '[site] [ID]',
    summary: 'cancel maintenance that is announced for later',
    options: ['by'],
    examples: ['cancel', 'cancel shop 7f0c3a52-6c1e-4c55-9d2b-0a7e3f6b1c11']
  },
  run: {
    usage: '[site] -- COMMAND…',
    summary: 'close the site, run a command once it is safe, and open the site again',
    options: [...RUN_WINDOW, 'lease', 'wait', 'no-wait', 'assume-dead', 'stay-closed', 'by', 'force'],
    force: 'also a site that is neither stored nor served by a running server',
    examples: [
      'run -- npm run migrate',
      'run shop --message "Back in ten minutes" --wait=60s -- ./migrate.sh',
      'run --lease 30s --stay-closed -- ./migrate.sh'
    ]
  },
  status: {
    usage: '[site…]',
    summary: 'show what visitors get, and what is stored',
    options: ['watch'],
    examples: ['status', 'status shop blog --watch', 'status --json']
  },
  history: {
    usage: '[site]',
    summary: 'show who changed what, newest first',
    options: [],
    examples: ['history', 'history shop --json']
  },
  servers: {
    usage: '[site]',
    summary: 'show the running servers, and what is still running on them',
    options: [],
    examples: ['servers', 'servers shop']
  }
} satisfies { readonly [name: string]: CommandSpec }

/** What opens no store. */
export const HELPERS = {
  help: {
    usage: '[command]',
    summary: 'show the options of a command, with examples',
    options: [],
    examples: ['help on']
  },
  sql: {
    usage: '[postgres|mysql|sqlite]',
    summary: 'print the SQL that creates the tables of the store',
    options: ['store', 'prefix'],
    examples: ['sql postgres', 'sql --store mysql://db.internal/shop --prefix shop_maintenance']
  },
  completion: {
    usage: 'bash|zsh|fish',
    summary: 'print a script that completes commands and options in a shell',
    options: [],
    examples: ['completion fish | source']
  }
} satisfies { readonly [name: string]: CommandSpec }

export type CommandName = keyof typeof COMMANDS

/** What `help` explains. */
export type Topic = CommandName | keyof typeof HELPERS

export const TOPICS = [...Object.keys(COMMANDS), ...Object.keys(HELPERS)] as readonly Topic[]

export const isCommand = (name: string): name is CommandName => Object.hasOwn(COMMANDS, name)

/** All that a command takes. What `run` prints is the output of its command. */
export const optionsOf = (name: CommandName): readonly OptionName[] =>
  [...commandSpec(name).options, ...EVERYWHERE.filter(option => name !== 'run' || option !== 'json')]

export const commandSpec = (name: CommandName): CommandSpec => COMMANDS[name]
