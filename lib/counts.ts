/** What this server has counted for a site since it started; `held`: at this moment. */
export interface Counts { blocked: number, ignored: number, held: number }

export const createCounts = (): Counts => ({ blocked: 0, ignored: 0, held: 0 })
