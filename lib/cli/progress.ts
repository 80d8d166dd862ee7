import type { Progress } from '../servers/wait.ts'
import { escapeControls } from '../util/escape.ts'
import type { Output } from './output.ts'
import { count } from './print.ts'

const BAR = 20

/** How far the servers are: one line that is written over on a terminal, else a line for each change. */
export function createProgress (on: boolean, { out, terminal = false }: Output): (progress: Progress) => void {
  let last = ''
  return progress => {
    const { servers, unready } = progress
    const text = progressInWords(progress, on)
    // the last line says more
    if (text === last || unready.length === 0) return
    last = text
    const filled = Math.round(BAR * (servers.length - unready.length) / servers.length)
    out(terminal ? `\r\u001b[K[${'#'.repeat(filled)}${'.'.repeat(BAR - filled)}] ${text}` : `${text}\n`)
  }
}

const progressInWords = ({ servers, followed, inFlight }: Progress, on: boolean): string =>
  `${followed} of ${count(servers.length, 'server')} ${on ? `closed, ${count(inFlight, 'request')} running` : 'open'}`

/** The end of a wait, and what matters to the person who goes on. */
export function endInWords (progress: Progress, on: boolean, safe: boolean, { terminal = false }: Output): string {
  const notes = progress.gone.map(server => `${server.label} was last seen at ${server.seenAt}: it stopped, died, or cannot reach the store`)
  const end = `${terminal ? '\r\u001b[K' : ''}${progressInWords(progress, on)}${on && safe ? ': safe to proceed' : ''}`
  return [end, ...notes.map(note => `  ${escapeControls(note)}`)].map(line => `${line}\n`).join('')
}
