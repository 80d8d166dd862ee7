// client and server share a core: in a virtual machine, waking a process on another one costs more than a request
export const CORE = '0'

/** What to put before a command, so that on Linux it stays on a core. */
export const pinTo = (core: string): string[] => process.platform === 'linux' ? ['taskset', '-c', core] : []
