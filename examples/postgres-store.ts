import type { MaintenanceStore } from 'fastify-maintenance'
import { DatabaseError, type Pool, type PoolClient } from 'pg'

/** Run it once, with your other migrations. */
export const SCHEMA = `
  CREATE TABLE IF NOT EXISTS maintenance (site text PRIMARY KEY, record text NOT NULL, revision bigint NOT NULL);
  CREATE TABLE IF NOT EXISTS maintenance_history (id bigserial PRIMARY KEY, site text NOT NULL, record text NOT NULL)`

// the statement that writes also compares, so no other writer can come in between
const ANYTHING = 'INSERT INTO maintenance VALUES ($1, $2, $3) ON CONFLICT (site) DO UPDATE SET record = $2, revision = $3'
const NOTHING = 'INSERT INTO maintenance VALUES ($1, $2, $3) ON CONFLICT (site) DO NOTHING'
const EXACTLY = 'UPDATE maintenance SET record = $2, revision = $3 WHERE site = $1 AND revision = $4'

const coded = (code: string, message: string, cause?: unknown) => Object.assign(new Error(message, { cause }), { code })

/** Keeps the state in PostgreSQL. @param pool of pg, such as `fastify.pg.pool` */
export function createPostgresStore (pool: Pool): MaintenanceStore {
  let listener: PoolClient | undefined
  let retry: NodeJS.Timeout | undefined
  let closed = false

  function query (text: string, values: unknown[]) {
    const config = { text, values, query_timeout: 1500 } // ms: a half-open connection must not block
    return pool.query(config)
  }

  /** An error of PostgreSQL, or a failed connection: nothing was written. After any other error, it may have been. */
  function outcome (error: NodeJS.ErrnoException): Error {
    if (error instanceof DatabaseError || error.syscall === 'connect') return error
    return coded('FST_ERR_MAINTENANCE_OUTCOME_UNKNOWN', `no answer of PostgreSQL: ${error.message}`, error)
  }

  async function listen (onChange: (site?: string) => void): Promise<void> {
    const client = await pool.connect().catch(() => undefined)
    if (closed) return client?.release(true)
    listener = client
    let lost = false
    const again = () => {
      if (lost || closed) return
      lost = true
      client?.release(true)
      listener = undefined
      retry = setTimeout(() => listen(onChange), 1000).unref()
    }
    if (client === undefined) return again()
    client.on('error', again).on('notification', ({ payload }) => onChange(payload))
    await client.query('LISTEN maintenance').then(() => onChange(), again) // earlier notifications were missed
  }

  return {
    async read (site) {
      const { rows: [row] } = await query('SELECT record FROM maintenance WHERE site = $1', [site])
      return row?.record ?? null
    },
    async write (site, record, { revision, expectedRevision, skipHistory = false }) {
      const statement = expectedRevision === undefined ? ANYTHING : expectedRevision === 0 ? NOTHING : EXACTLY
      const values = [site, record, revision, ...(statement === EXACTLY ? [expectedRevision] : [])]
      const { rowCount } = await query(`WITH written AS (${statement} RETURNING site, record), remembered AS (
        INSERT INTO maintenance_history (site, record) SELECT site, record FROM written WHERE ${!skipHistory} RETURNING site
      ) SELECT pg_notify('maintenance', site) FROM written`, values).catch(error => { throw outcome(error) })
      if (rowCount === 0) throw coded('FST_ERR_MAINTENANCE_CONFLICT', `the stored revision is not ${expectedRevision}`)
    },
    async listHistory (site, limit) {
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
