import { generator, median } from './measure.ts'

/** An estimate and its 95 % confidence interval. */
export interface Interval { readonly value: number, readonly low: number, readonly high: number }

const RESAMPLES = 1000

/**
 * The median of all samples. The bootstrap has two steps, because two processes of the same program differ more than
 * two slices of one process: it draws generations first, and then samples within each.
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

export const halfWidth = ({ low, high }: Interval): number => (high - low) / 2

export const formatInterval = ({ low, high }: Interval, digits = 3): string =>
  `${low.toFixed(digits)} to ${high.toFixed(digits)}`
