// Finds wording that readers stumble over, in pages, messages and comments: `npm run lint:words`.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const FOLDERS = ['docs', 'lib', 'types', 'test', 'examples', 'benchmarks']
const IS_CHECKED = /\.(md|[cm]?ts|[cm]?js|eta)$|\blocales\/en\.json$/

/** What is found, and what to write instead. */
const BANNED = {
  'so (?:long|many|often)\\b(?! as)': 'the limit itself: "after this time", "this many"',
  'is told': 'is logged, is reported',
  '(?:tells|told) of': 'reports',
  'well again': 'recovered',
  'harms? nobody': 'has no effect',
  'what is none': 'invalid values',
  'by itself': 'automatically',
  whoever: 'anyone who, users who, you',
  'good-bye': 'goodbye',
  'lies around': 'is left over',
  "one's own": 'your own'
}
const PHRASES = new RegExp(Object.keys(BANNED).map(phrase => `(\\b${phrase}\\b)`).join('|'), 'gi')
const ADVICE = Object.values(BANNED)

const files = [
  ...readdirSync('.').filter(file => file.endsWith('.md') || file === 'index.ts'),
  ...FOLDERS.flatMap(folder => readdirSync(folder, { recursive: true }).map(file => join(folder, file)))
].filter(file => IS_CHECKED.test(file) && !file.includes('node_modules'))

for (const file of files) {
  for (const [index, line] of readFileSync(file, 'utf8').split('\n').entries()) {
    for (const [found, ...phrases] of line.matchAll(PHRASES)) {
      console.error(
        `${file}:${index + 1}: "${found}"; better: ${ADVICE[phrases.findIndex(phrase => phrase !== undefined)]}`
      )
      process.exitCode = 1
    }
  }
}
