import { spawn } from 'node:child_process'
import { accessSync, constants as mode, statSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, join } from 'node:path'
import { EXIT } from './output.ts'

/** A command that is running. */
export interface Child {
  /** The exit code; 128 + n if signal n ended it. */
  readonly ended: Promise<number>
  /** Passes a signal on that this process received. */
  pass (signal: NodeJS.Signals): void
  stop (): void
}

/** What a shell reports for a command that a signal ended. */
export const codeOfSignal = (signal: NodeJS.Signals): number => 128 + constants.signals[signal]

/** Starts a command with the standard streams of this process. */
export function startChild ([name = '', ...args]: readonly string[]): Child {
  const child = spawn(name, args, { stdio: 'inherit' })
  const ended = new Promise<number>(resolve => {
    child.on('error', () => resolve(EXIT.notExecutable))
    child.on('exit', (code, signal) => resolve(code ?? codeOfSignal(signal as NodeJS.Signals)))
  })
  return {
    ended,
    // a terminal sends Ctrl-C to both, and two of them would end some programs the hard way
    pass: signal => { if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal) },
    stop: () => { child.kill('SIGTERM') }
  }
}

/** Looks a command up as a shell does. @returns its path, or the exit code of a shell that cannot run it */
export function findExecutable (name: string, path = process.env.PATH ?? ''): string | number {
  const candidates = name.includes('/') ? [name] : path.split(delimiter).map(folder => join(folder, name))
  const files = candidates.filter(isFile)
  return files.find(isExecutable) ?? (files.length > 0 ? EXIT.notExecutable : EXIT.notFound)
}

const isFile = (file: string): boolean => works(() => statSync(file)) && statSync(file).isFile()

const isExecutable = (file: string): boolean => works(() => accessSync(file, mode.X_OK))

function works (check: () => void): boolean {
  try {
    check()
    return true
  } catch {
    return false
  }
}
