export type Row = Readonly<Record<string, string>>

/** Prints a table in Markdown: `npm run bench` keeps it as it is. */
export function printTable (title: string, rows: readonly Row[]): void {
  const names = Object.keys(rows[0] ?? {})
  const lines = [names, names.map((_name, i) => i === 0 ? '---' : '---:'), ...rows.map(row => names.map(name => row[name] ?? ''))]
  console.log(`### ${title}\n\n${lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')}\n`)
}

/** The least and the greatest. */
export function spread (values: readonly number[], digits = 2): string {
  return `${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)}`
}

/** The value with this share of the sorted values below it. */
export function percentile (values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN
}
