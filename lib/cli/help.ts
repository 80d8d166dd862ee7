import { commandSpec, EVERYWHERE, HELPERS, isCommand, optionsOf, TOPICS, type CommandSpec, type Topic } from './commands.ts'
import { specOf, type OptionName } from './options.ts'

const specOfTopic = (name: Topic): CommandSpec => isCommand(name) ? commandSpec(name) : HELPERS[name]

/** What `help` prints, for one command or for all. */
export const helpOf = (name: Topic | null): string => name === null ? overview() : helpOfTopic(name)

function overview (): string {
  return `fastify-maintenance: close and open the sites of Fastify servers

${table(TOPICS.map(name => [`${name} ${specOfTopic(name).usage}`, specOfTopic(name).summary]))}

If no site is named, the site is 'default'. Options of every command:
${table(EVERYWHERE.map(name => [written(name), specOf(name).help]))}

Exit codes:
  0  done; for status: open
  1  the store failed
  2  wrong use, or not possible as things stand; nothing was changed
  3  not safe (--wait), or a server does the opposite; the change stands
  4  for status: closed
'run' exits with the code of its command; 126 and 127: it cannot be run
`
}

function helpOfTopic (name: Topic): string {
  const { usage, summary, options, force = '', examples } = specOfTopic(name)
  const taken: readonly OptionName[] = isCommand(name) ? optionsOf(name) : [...options, 'help']
  const rows = taken.map((option): [string, string] => [
    written(option),
    option === 'force' ? force : specOf(option).help
  ])
  return `fastify-maintenance ${name} ${usage}: ${summary}

${table(rows)}

Examples:
${examples.map(example => `  fastify-maintenance ${example}\n`).join('')}`
}

/** `-h, --help`, `--wait[=DURATION]`, `--message TEXT` */
function written (name: OptionName): string {
  const { value, optional, short } = specOf(name)
  const option = short === undefined ? `--${name}` : `-${short}, --${name}`
  if (value === undefined) return option
  return optional === true ? `${option}[=${value}]` : `${option} ${value}`
}

const WIDTH = 28

const table = (rows: readonly (readonly [string, string])[]): string =>
  rows.map(([term, text]) => `  ${term.padEnd(WIDTH)}  ${text}`).join('\n')
