import { Transform } from 'node:stream'

// tap ends with "# { total: 9, pass: 8, fail: 1 }": this passes what matters of it through, failures and
// the summary of each file, and ends with "8 passed, 1 failed".
export default class Plain extends Transform {
  #text = ''

  _transform (chunk, _encoding, done) {
    this.#text += chunk
    const lines = this.#text.split('\n')
    this.#text = lines.pop()
    for (const line of lines) this.#line(line)
    done()
  }

  #last = ''
  #failing = false

  #line (line) {
    if (line.startsWith('# {')) this.#last = line
    const isTest = /^ *(not )?ok /.test(line)
    if (isTest) this.#failing = line.trimStart().startsWith('not ok')
    // what is skipped is named, however deep it is
    if (this.#failing || /^(ok|Bail out|#) | # SKIP /.test(line)) this.push(`${line}\n`)
  }

  _flush (done) {
    const count = name => Number(this.#last.match(new RegExp(`${name}: (\\d+)`))?.[1] ?? 0)
    const skipped = count('skip') + count('todo')
    done(null, `${count('pass')} passed, ${count('fail')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
  }
}
