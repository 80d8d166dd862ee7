// Every test counts for all of the sources; not for dist/, which some run as users would: that is the same once more.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const sources = ['index.ts', ...readdirSync('lib', { recursive: true }).map(file => join('lib', file)).filter(file => file.endsWith('.ts'))]

export default () => sources
