import type { MaintenanceStore } from 'fastify-maintenance'
import { DatabaseError, type Pool, type PoolClient } from 'pg'

/** To be run once, with your other migrations. */
export const SCHEMA = `
  CREATE TABLE IF NOT EXISTS maintenance (site text PRIMARY KEY, record text NOT NULL, revision bigint NOT NULL);
  CREATE TABLE IF NOT EXISTS maintenance_history (id bigserial PRIMARY KEY, site text NOT NULL, record text NOT NULL)`

// what is expected is compared by the statement that writes: nobody comes in between
const ANYTHING = 'INSERT INTO maintenance VALUES ($1, $2, $3) ON CONFLICT (site) DO UPDATE SET record = $2, revision = $3'
const NOTHING = 'INSERT INTO maintenance VALUES ($1, $2, $3) ON CONFLICT (site) DO NOTHING'
const EXACTLY = 'UPDATE maintenance SET record = $2, revision = $3 WHERE site = $1 AND revision = $4'

const coded = (code: string, message: string, cause?: unknown) => Object.assign(new Error(message, { cause }), { code })

/** State in PostgreSQL, for all servers that reach it. @param pool of pg: `fastify.pg.pool`, say */
export function createPostgresStore (pool: Pool): MaintenanceStore {
  let listener: PoolClient | undefined
  let retry: NodeJS.Timeout | undefined
  let closed = false

  function query (text: string, values: unknown[]) {
    const config = { text, values, query_timeout: 1500 } // ms: a link that is half open keeps nobody waiting
    return pool.query(config)
  }

  /** Where PostgreSQL itself says no, or was never reached, nothing was written; anything else may have been. */
  function outcome (error: NodeJS.ErrnoException): Error {
    if (error instanceof DatabaseError || error.syscall === 'connect') return error
    return coded('FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN', `no answer of PostgreSQL: ${error.message}`, error)
  }

  async function listen (onHint: (site?: string) => void): Promise<void> {
    const client = await pool.connect().catch(() => undefined)
    if (closed) return client?.release(true)
    listener = client
    let lost = false
    const again = () => {
      if (lost || closed) return
      lost = true
      client?.release(true)
      listener = undefined
      retry = setTimeout(() => listen(onHint), 1000).unref()
    }
    if (client === undefined) return again()
    client.on('error', again).on('notification', ({ payload }) => onHint(payload))
    await client.query('LISTEN maintenance').then(() => onHint(), again) // what was told before is lost
  }

  return {
    async read (site) {
      const { rows: [row] } = await query('SELECT record FROM maintenance WHERE site = $1', [site])
      return row?.record ?? null
    },
    async write (site, record, { revision, expected, quiet = false }) {
      const statement = expected === undefined ? ANYTHING : expected === 0 ? NOTHING : EXACTLY
      const values = [site, record, revision, ...(statement === EXACTLY ? [expected] : [])]
      const { rowCount } = await query(`WITH written AS (${statement} RETURNING site, record), remembered AS (
        INSERT INTO maintenance_history (site, record) SELECT site, record FROM written WHERE ${!quiet} RETURNING site
      ) SELECT pg_notify('maintenance', site) FROM written`, values).catch(error => { throw outcome(error) })
      if (rowCount === 0) throw coded('FST_ERR_MAINTENANCE_CONFLICT', `the stored revision is not ${expected}`)
    },
    async list (site, limit) {
      const { rows } = await query('SELECT record FROM maintenance_history WHERE site = $1 ORDER BY id DESC LIMIT $2', [site, limit])
      return rows.map(({ record }) => record)
    },
    watch: listen,
    close () {
      closed = true
      clearTimeout(retry)
      listener?.release(true)
      listener = undefined
    }
  }
}
