import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'

const CHUNK = 64 * 1024

/**
 * Reads a file that may turn out to be anything: only a regular file of at most `sizeMax` bytes is accepted.
 * O_NONBLOCK, because opening a FIFO would otherwise wait for its writer and occupy a thread of the pool.
 * @param flags more flags of `open`, such as O_NOFOLLOW
 */
export async function readRegular (path: string, sizeMax: number, flags = 0): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | flags)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new Error('it is no regular file')
    if (stats.size > sizeMax) throw new Error(`it has ${stats.size} bytes, more than ${sizeMax}`)
    return await readAtMost(file, sizeMax)
  } finally {
    await file.close()
  }
}

/** The size that `stat` gives is not enough: it is 0 for endless files of /proc, and a file can grow meanwhile. */
async function readAtMost (file: FileHandle, sizeMax: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  let isMore = true
  while (isMore && length <= sizeMax) {
    const chunk = Buffer.allocUnsafe(CHUNK)
    const { bytesRead } = await file.read(chunk, 0, CHUNK, null)
    chunks.push(chunk.subarray(0, bytesRead))
    length += bytesRead
    isMore = bytesRead > 0
  }
  /* c8 ignore next -- the file grows while it is read */
  if (length > sizeMax) throw new Error(`it has more than ${sizeMax} bytes`)
  return Buffer.concat(chunks)
}
