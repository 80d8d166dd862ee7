import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { checkAlone, checkProjects, installInto, majorOf, type Project } from '../fixtures/types.ts'

const run = promisify(execFile)
const VERSIONS = ['5.4', '5.5', '5.6', '5.7', '5.8', '5.9', '6.0', 'latest']
/** MAINTENANCE_TYPESCRIPTS=5.4,latest runs only these. */
const isChosen = (version: string): boolean => process.env.MAINTENANCE_TYPESCRIPTS?.split(',').includes(version) ?? true

t.test('the types of the packed tarball, in every TypeScript since 5.4', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'fastify-maintenance-types-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const { stdout } = await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir])
  installInto(dir, join(dir, stdout.trim()), ...VERSIONS.filter(isChosen).map(
    version => `typescript-${version}@npm:typescript@${version}`
  ))

  t.jobs = 2
  await Promise.all(VERSIONS.map(version => t.test(`TypeScript ${version}`, {
    buffered: true, skip: isChosen(version) ? false : 'not named in MAINTENANCE_TYPESCRIPTS'
  }, async t => {
    const typescript = join(dir, 'node_modules', `typescript-${version}`)
    const projects = projectsFor(typescript)
    const wrong = await checkProjects(dir, typescript, projects)
    for (const [i, project] of projects.entries()) t.equal(wrong[i], '', JSON.stringify(project))
  })))

  const own = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
  for (const kind of kindsOf(own)) {
    t.equal(checkAlone(dir, own, kind), '', `every declaration file compiles alone: ${kind}`)
  }
})

const kindsOf = (typescript: string): Project['kind'][] =>
  majorOf(typescript) >= 7 ? ['nodenext', 'node16', 'bundler'] : ['nodenext', 'node16', 'bundler', 'node10']

function projectsFor (typescript: string): Project[] {
  return kindsOf(typescript).flatMap(
    kind => [true, false].flatMap(verbatim => [true, false].map(exact => ({ kind, verbatim, exact })))
  )
}
