/** What went wrong, in the words of the bridge: `closed`, `timeout`, `refused`, `bad_content`, `failed`. */

import { CallError } from '../lines.js'

/** The file system's words for a file that is not what the caller said. */
const NO_SUCH_FILE = new Set(['ENOENT', 'EACCES', 'EISDIR', 'ENOTDIR', 'EPERM'])
/** Boom's status codes of a connection that ended: Baileys' connectionClosed, connectionLost, connectionReplaced. */
const ENDED = new Set([428, 408, 440])

/**
 * `error` as a CallError.
 *
 * @param {any} error whatever Baileys threw
 * @param {boolean} sent whether a frame of the message may have left, and so may have arrived
 * @returns {CallError}
 */
export function explain(error, sent) {
	if (error instanceof CallError) return new CallError(error.code, error.message, { sent, ...error.data })
	const message = String(error?.message ?? error)
	const status = error?.output?.statusCode
	// A server's refusal of a query: its number is in `data`, and the status is 500 whatever it was.
	if (typeof error?.data === 'number') return new CallError('refused', message, { sent, status: error.data })
	if (ENDED.has(status)) return new CallError('closed', message, { sent })
	if (NO_SUCH_FILE.has(error?.code)) return new CallError('bad_content', `a file that cannot be read: ${error.code}`, { sent })
	if (status === 400) return new CallError('bad_content', message, { sent })
	return new CallError('failed', message, { sent })
}
