// Every test counts for all of the sources but the file that is the process itself, which most tests run from dist/;
// not for dist/, which some run as users would: that is the same once more.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const sources = ['index.ts', ...readdirSync('lib', { recursive: true }).map(file => join('lib', file)).filter(
  file => file.endsWith('.ts') && !file.endsWith('bin.ts')
)]

export default () => sources
