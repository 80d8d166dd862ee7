/** An option of the command line. */
export interface OptionSpec {
  /** What its value is; absent: it takes none. */
  readonly value?: string
  /** Its value may be left out; it then stands behind a `=`. */
  readonly optional?: boolean
  readonly multiple?: boolean
  readonly short?: string
  readonly help: string
}

export const OPTIONS = {
  message: { value: 'TEXT', help: 'shown to visitors' },
  'message-lang': { value: 'LANG=TEXT', multiple: true, help: 'the message in one language, such as de="Bald zurück"' },
  mode: {
    value: 'MODE',
    help: 'full: block every request (default); read-only: let reads through; hold: keep requests waiting'
  },
  'starts-at': { value: 'TIME', help: 'close later: ISO 8601 with a zone, such as 2026-12-01T03:00:00Z' },
  in: { value: 'DURATION', help: 'the same, counted from now: 2h' },
  'ends-at': { value: 'TIME', help: 'open automatically at that time' },
  for: { value: 'DURATION', help: 'the same, counted from the start: 90s, 30m, 1h30m, 2d' },
  'retry-after': { value: 'SECONDS', help: 'for clients, while no end is known' },
  'ignore-route': {
    value: 'PATTERN',
    multiple: true,
    help: 'let this route through: /health, or /admin/* for all below it'
  },
  'ignore-ip': {
    value: 'BLOCK',
    multiple: true,
    help: 'let this address or CIDR block through: 192.0.2.7, 10.0.0.0/8'
  },
  'only-route': { value: 'PATTERN', multiple: true, help: 'close only this route, such as /checkout/*' },
  bypass: { help: 'create a link for testers, and print it once' },
  'no-message': { help: 'remove the message' },
  'no-end': { help: 'stay closed until someone opens the site' },
  'no-retry-after': { help: 'back to the default of the servers' },
  'no-ignore-route': { value: 'PATTERN', multiple: true, help: 'block this route again' },
  'no-ignore-ip': { value: 'BLOCK', multiple: true, help: 'block this address or CIDR block again' },
  'no-only-route': {
    value: 'PATTERN',
    multiple: true,
    help: 'no longer close this route; without the last one, the whole site is closed'
  },
  'no-bypass': { help: 'invalidate the link for testers' },
  window: { value: 'ID', help: 'the window to change, if there are several' },
  by: { value: 'NAME', help: 'who makes the change (default: user@host)' },
  wait: {
    value: 'DURATION',
    optional: true,
    help: 'return once every server has followed and nothing from before is running (default: 30s)'
  },
  'no-wait': { help: 'do not wait for the servers' },
  lease: { value: 'DURATION', help: 'open the site if this process dies: that long after its last sign of life' },
  'stay-closed': { help: 'keep the site closed if the command fails, or the lease ends' },
  'assume-dead': { help: 'with --wait: you have made sure that lost servers are dead; they are removed from the list' },
  force: { help: '' },
  watch: { help: 'print every change, until Ctrl-C' },
  store: {
    value: 'ADDRESS',
    help: 'where the state is kept: redis://…, postgres://…, mysql://…, sqlite:PATH, file:PATH, or a module such as ./store.mjs (default: the variable MAINTENANCE_STORE)'
  },
  prefix: {
    value: 'PREFIX',
    help: 'of the keys in Redis (default: fastify-maintenance:); the table of a database (default: maintenance)'
  },
  json: { help: 'print one JSON document: { "v": 1, "sites": [ … ] }' },
  help: { short: 'h', help: 'print this help' },
  version: { short: 'v', help: 'print the version' }
} satisfies { readonly [name: string]: OptionSpec }

export type OptionName = keyof typeof OPTIONS

export const isOption = (name: string): name is OptionName => Object.hasOwn(OPTIONS, name)

export const specOf = (name: OptionName): OptionSpec => OPTIONS[name]
