/** Baileys' log, cut down to what may be shown: its own sentence and the error's, never the objects beside them. */

import logger from '@whiskeysockets/baileys/lib/Utils/logger.js'

import { log } from '../lines.js'

// Some of Baileys logs here whatever logger it is given, and pino writes past process.stdout to descriptor 1.
logger.level = 'silent'

const LONGEST = 300

// Said of every picture that is sent, as a warning: wad brings no library that makes previews, and does without.
const KNOWN = /No image processing library available/
// Said of every stream error, the restart that ends each pairing among them. The others are told, as the socket's close.
const TOLD = 'stream errored out'

/**
 * A logger for Baileys' `logger` option.
 *
 * @param {string} session
 */
export function makeLogger(session) {
	const say = (what, words) => {
		const error = what?.error ?? what?.err
		const detail = error?.message ?? what?.trace
		if (KNOWN.test(String(detail)) || words === TOLD) return
		log('warning', String(words ?? what?.msg ?? what).slice(0, LONGEST), {
			session,
			...(detail === undefined ? {} : { error: String(detail).split('\n', 1)[0].slice(0, LONGEST) }),
		})
	}
	const nothing = () => {}
	const made = { level: 'warn', trace: nothing, debug: nothing, info: nothing, warn: say, error: say, fatal: say }
	made.child = () => made
	return made
}
