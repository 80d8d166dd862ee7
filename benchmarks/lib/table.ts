export type Row = Readonly<Record<string, string>>

/** Prints a Markdown table, which `npm run bench` copies to results.md. */
export const printTable = (title: string, rows: readonly Row[]): void => console.log(tableOf(title, rows))

export function tableOf (title: string, rows: readonly Row[]): string {
  const names = Object.keys(rows[0] ?? {})
  const lines = [
    names,
    names.map((_name, i) => i === 0 ? '---' : '---:'),
    ...rows.map(row => names.map(name => row[name] ?? ''))
  ]
  return `### ${title}\n\n${lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

/** The value that this share of the values lies below. */
export function percentile (values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

/** All tables by title, and their rows by first cell. */
export function tablesOf (source: string): Map<string, Map<string, Row>> {
  const tables = source.matchAll(/^### (.+)\n\n((?:\|.*\n?)+)/gm)
  return new Map([...tables].map(([, title = '', table = '']) => [title, rowsOf(table)]))
}

function rowsOf (table: string): Map<string, Row> {
  const [names = [], , ...rows] = table.trim().split('\n').map(cellsOf)
  return new Map(rows.map(cells => [
    cells[0] ?? '',
    Object.fromEntries(names.map((name, i) => [name, cells[i] ?? '']))
  ]))
}

const cellsOf = (line: string): string[] => line.slice(1, -1).split('|').map(cell => cell.trim())

/** The confidence interval, if there is one in the next column. */
export function intervalOf (cells: Row, column: string): string | undefined {
  const names = Object.keys(cells)
  return names[names.indexOf(column) + 1] === '95 %' ? cells['95 %'] : undefined
}
