/** Where the text of the command goes. */
export interface Output {
  out (text: string): void
  err (text: string): void
  /** Can lines be written over? */
  readonly terminal?: boolean
  /** Ctrl-C. */
  readonly signal?: AbortSignal
}

export const EXIT = { done: 0, failed: 1, usage: 2, unsafe: 3, inMaintenance: 4 } as const
