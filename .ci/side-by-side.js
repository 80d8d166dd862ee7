// Runs scripts of package.json at the same time, and fails if one of them does: `node .ci/side-by-side.js lint build`.
import { spawn } from 'node:child_process'

for (const script of process.argv.slice(2)) {
  const child = spawn('npm', ['run', '--silent', script], { stdio: 'inherit' })
  child.on('exit', code => {
    if (code === 0) return
    console.error(`npm run ${script} failed`)
    process.exitCode = 1
  })
}
