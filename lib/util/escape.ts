/* eslint-disable no-control-regex -- control characters are what it looks for */

/** C0 and C1, and invisible characters that change the direction of text or stand for nothing. */
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

const toEscape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

/** Stored text must not steer a terminal: what would act is shown. */
export const escapeControls = (text: string): string => text.replace(CONTROLS, toEscape)

/** JSON, in which `JSON.stringify` escapes only C0. Outside of strings only line feeds match, and they stay. */
export const toSafeJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(CONTROLS, character =>
    character === '\n' ? character : toEscape(character)
  )
