// Runs every benchmark, prints all tables, and writes them to results.md with what they were measured on: `npm run
// bench`. Some twenty minutes; QUICK=1 only shows in some minutes that all of it runs, and its figures are worth
// nothing.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, cpus, loadavg, release, totalmem } from 'node:os'
import { text } from 'node:stream/consumers'
import { findProgram } from '../test/fixtures/debian.ts'

const FILE = new URL('results.md', import.meta.url)
/** Those that print Markdown; the others print columns. */
const TABLES = ['hook', 'blocked', 'bypass', 'peers', 'switch']
const COLUMNS = ['ip', 'routes', 'fleet']

const quick = process.env.QUICK === undefined ? {} : { ROUNDS: '1', SLICES: '1', REQUESTS: '2000', SWITCHES: '2', SERVERS: '20', SAMPLES: '1', WARM_UP: '100' }

const load = createRequire(import.meta.url)
const versionOf = (name: string): string => `${name} ${(load(`${name}/package.json`) as { version: string }).version}`

/** The first line that names a version; nginx tells it on stderr. */
function programVersion (name: string, argument: string): string {
  const program = findProgram([name], [])
  if (program === null) return `no ${name}`
  const { stdout, stderr } = spawnSync(program, [argument], { encoding: 'utf8' })
  return /^.*\d+\.\d+.*$/m.exec(`${stdout}${stderr}`)?.[0].trim() ?? name
}

async function run (name: string): Promise<string> {
  console.error(`${name}.ts, since ${new Date().toISOString()}`)
  const child = spawn(process.execPath, ['--import', 'tsx', new URL(`${name}.ts`, import.meta.url).pathname], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...quick } })
  const ended = new Promise(resolve => child.on('close', resolve))
  const printed = await text(child.stdout)
  if (await ended !== 0) throw new Error(`benchmarks/${name}.ts failed`)
  console.log(printed)
  return `## ${name}\n\n\`npx tsx benchmarks/${name}.ts\`\n\n${TABLES.includes(name) ? printed.trim() : `\`\`\`\n${printed.trim()}\n\`\`\``}\n`
}

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
const head = `# Results

Written by \`npm run bench\`; not to be changed by hand. The README takes its figures from here: \`npx tsx benchmarks/readme.ts\`.

- date: ${new Date().toISOString().slice(0, 10)}, load at the start: ${loadavg()[0]?.toFixed(1)}
- machine: ${cpus().length} × ${cpus()[0]?.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ${process.platform} ${release()} ${arch()}
- fastify-maintenance ${version}, Node ${process.version}, V8 ${process.versions.v8}, ${['fastify', '@fastify/under-pressure', 'express', 'ioredis'].map(versionOf).join(', ')}
- ${[programVersion('redis-server', '--version'), programVersion('nginx', '-v'), programVersion('valgrind', '--version')].join('; ')}
- settings: ${['ROUNDS', 'REQUESTS', 'SWITCHES', 'SERVERS', 'SAMPLES', 'SLICES', 'WARM_UP'].flatMap(name => process.env[name] === undefined ? [] : [`${name}=${process.env[name]}`]).join(' ') || 'the defaults'}

CPU time and its ratios are medians; *spread* is that of the rounds. A/A is the same again: differences below its own are nothing.
`

const parts: string[] = []
for (const name of [...TABLES, ...COLUMNS]) parts.push(await run(name))
writeFileSync(FILE, `${head}\n${parts.join('\n')}`)
