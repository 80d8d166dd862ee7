import type { RunningRuns } from '../../types/index.ts'
import { RunningError } from '../errors.ts'

type Run = RunningRuns['runs'][number]

const ABOUT_SERVER: { readonly [server in Run['server']]: string } = {
  running: '',
  lost: ', whose server is lost',
  stopped: ', whose server has stopped',
  unknown: ''
}

/** Says which runs keep a site closed; carries `RunningRuns`. */
export function runningError (runs: readonly Run[]): Error {
  const words = runs.map(({ host, pid, server, by, since }) =>
    `on ${host} (process ${pid})${ABOUT_SERVER[server]}${by === null ? '' : `, by ${by}`}, since ${since}`)
  const isOver = runs.every(({ server }) => ['lost', 'stopped'].includes(server))
  const advice = isOver ? 'Use force to end it' : 'Wait for it, or use force to end it'
  return Object.assign(new RunningError(`the site is kept closed by a run ${words.join('; ')}. ${advice}`), { runs })
}
