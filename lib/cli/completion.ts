import { COMMANDS, optionsOf, TOPICS, type CommandName } from './commands.ts'
import { UsageError } from './output.ts'

const NAMES = Object.keys(COMMANDS) as CommandName[]

const WORDS = TOPICS.join(' ')

const optionsText = (name: CommandName): string => optionsOf(name).map(option => `--${option}`).join(' ')

const bash = (): string => `# eval "$(fastify-maintenance completion bash)"
_fastify_maintenance () {
  local word="\${COMP_WORDS[COMP_CWORD]}" words='${WORDS}'
  case "\${COMP_WORDS[1]}" in
${NAMES.map(name => `    ${name}) words='${optionsText(name)}' ;;`).join('\n')}
  esac
  if [ "$COMP_CWORD" = 1 ]; then words='${WORDS}'; fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _fastify_maintenance fastify-maintenance
`

const zsh = (): string => `# eval "$(fastify-maintenance completion zsh)"
autoload -Uz bashcompinit && bashcompinit
${bash().split('\n').slice(1).join('\n')}`

const fish = (): string => `# fastify-maintenance completion fish | source
complete -c fastify-maintenance -n __fish_use_subcommand -f -a '${WORDS}'
${NAMES.map(name =>
  optionsOf(name)
    .map(option => `complete -c fastify-maintenance -n '__fish_seen_subcommand_from ${name}' -l ${option}`)
    .join('\n')
).join('\n')}
`

const SHELLS = { bash, zsh, fish }

/** A script that completes commands and options. @throws UsageError */
export function completionFor (shell: string | undefined): string {
  if (shell !== undefined && Object.hasOwn(SHELLS, shell)) return SHELLS[shell as keyof typeof SHELLS]()
  throw new UsageError(`'completion' needs a shell: ${Object.keys(SHELLS).join(', ')}`)
}
