import { generator, median } from './measure.ts'

/** An estimate, and the interval that holds it in 95 of 100 runs. */
export interface Interval { readonly value: number, readonly low: number, readonly high: number }

const RESAMPLES = 1000

/**
 * The median of all samples. Its interval is a bootstrap in two steps: processes of the same program differ more than
 * the slices of one process do, so generations are drawn first, and then samples within each.
 * @param generations the samples of each generation of processes
 */
export function medianInterval (generations: readonly (readonly number[])[]): Interval {
  const below = generator(7)
  const draw = <T>(values: readonly T[]): T[] => values.map(() => values[below(values.length)] as T)
  const medians = Array.from({ length: RESAMPLES }, () => median(draw(generations).flatMap(draw))).sort((a, b) => a - b)
  return {
    value: median(generations.flat()),
    low: medians[Math.floor(RESAMPLES * 0.025)] as number,
    high: medians[Math.ceil(RESAMPLES * 0.975) - 1] as number
  }
}

/** Half of its width. */
export const halfWidth = ({ low, high }: Interval): number => (high - low) / 2

export const inWords = ({ low, high }: Interval, digits = 3): string => `${low.toFixed(digits)} to ${high.toFixed(digits)}`
