import type { Message } from '../../types/index.ts'
import { defaultText, messageByLanguage } from '../state/message.ts'
import { remembered } from '../util/accept-header.ts'
import { chooseLanguage } from '../util/accept-language.ts'

/** Chooses the text of the operator's message for a visitor; `null` if there is no message. */
export interface MessageChooser {
  readonly all: readonly (string | null)[]
  readonly default: string | null
  /** Does the text depend on `Accept-Language`? */
  readonly varies: boolean
  choose (acceptLanguage: string | undefined): string | null
}

/** Without a match, visitors get the English text, or the first one if there is no English. */
export function createMessageChooser (message: Message | null): MessageChooser {
  const fallback = defaultText(message)
  if (message === null || typeof message === 'string') {
    return { all: [fallback], default: fallback, varies: false, choose: () => fallback }
  }
  const texts = messageByLanguage(message)
  return {
    all: [...new Set(texts.values())],
    default: fallback,
    varies: true,
    choose: remembered(header => texts.get(chooseLanguage(header, [...texts.keys()], '')) ?? fallback)
  }
}
