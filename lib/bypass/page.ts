import { Eta } from 'eta'
import { PAGE_STYLE, policyFor } from '../answer/page.ts'
import { readAsset } from '../util/asset.cjs'

const SCRIPT = readAsset('bypass/page.client.js')

/** Has no variables, so it is rendered once. */
export const BYPASS_PAGE = new Eta().renderString(readAsset('bypass/page.eta'), { style: PAGE_STYLE, script: SCRIPT })

/** Like that of the maintenance page, but with a form that works without scripts. */
export const BYPASS_POLICY = policyFor(PAGE_STYLE, SCRIPT, "'self'")
