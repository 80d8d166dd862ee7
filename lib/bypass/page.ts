import { Eta } from 'eta'
import { policyFor } from '../answer/page.ts'
import { STYLE } from '../answer/template.ts'
import { readAsset } from '../util/asset.cjs'

const SCRIPT = readAsset('bypass/page/page.client.js')

export const BYPASS_PAGE = new Eta().renderString(readAsset('bypass/page/page.eta'), { style: STYLE, script: SCRIPT })

/** Like the policy of the maintenance page, but the form may be posted: it works without scripts. */
export const BYPASS_POLICY = policyFor(STYLE, SCRIPT, "'self'")
