export type Row = Readonly<Record<string, string>>

/** Prints a table in Markdown: `npm run bench` keeps it as it is. */
export function printTable (title: string, rows: readonly Row[]): void {
  const names = Object.keys(rows[0] ?? {})
  const lines = [names, names.map((_name, i) => i === 0 ? '---' : '---:'), ...rows.map(row => names.map(name => row[name] ?? ''))]
  console.log(`### ${title}\n\n${lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')}\n`)
}

/** The value with this share of the sorted values below it. */
export function percentile (values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN
}

/** By their titles; rows by their first cell. */
export function tablesOf (source: string): Map<string, Map<string, Row>> {
  return new Map([...source.matchAll(/^### (.+)\n\n((?:\|.*\n?)+)/gm)].map(([, title = '', table = '']) => {
    const [names = [], , ...rows] = table.trim().split('\n').map(line => line.slice(1, -1).split('|').map(cell => cell.trim()))
    return [title, new Map(rows.map(cells => [cells[0] ?? '', Object.fromEntries(names.map((name, i) => [name, cells[i] ?? '']))]))]
  }))
}

/** It stands behind its figure. */
export function intervalOf (cells: Row, column: string): string | undefined {
  const names = Object.keys(cells)
  return names[names.indexOf(column) + 1] === '95 %' ? cells['95 %'] : undefined
}
