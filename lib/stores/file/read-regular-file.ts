import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/**
 * Reads a file that may be anything: one that is no regular file, or larger than `sizeMax` bytes, is refused. Without
 * O_NONBLOCK, opening a FIFO waits for its writer.
 */
export async function readRegular (path: string, sizeMax: number): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new Error('it is no regular file')
    if (stats.size > sizeMax) throw new Error(`it has ${stats.size} bytes, more than ${sizeMax}`)
    return await file.readFile()
  } finally {
    await file.close()
  }
}
