/** What is to go wrong, for whom, and how often: faults wait in order, and each is used up by what it spoils. */

import { CallError } from '../lines.js'

/**
 * Kinds, and what they spoil:
 *
 *   no_ack       a send: delivered, never acknowledged
 *   lost         a send: neither delivered nor acknowledged
 *   error        a send: refused, its ack has `code` (463, 479, ...)
 *   delay        a send: delivered at once, acknowledged after `ms`
 *   late         a send: delivered and acknowledged after `ms`
 *   drop_before  a send: the connection breaks, nothing is delivered
 *   drop_after   a send: delivered, the connection breaks, no ack
 *   garble       a message to the client: it cannot be decrypted
 *   login        a login: refused, the failure has `code` (500, 503, ...)
 *   upload       an upload of media: answered with HTTP `code`
 */
export const KINDS = ['no_ack', 'lost', 'error', 'delay', 'late', 'drop_before', 'drop_after', 'garble', 'login', 'upload']
export const SENDING = KINDS.slice(0, 7)

export class Faults {
	#waiting = new Map() // phone → faults

	/** @param {{kind: string, times?: number|'always', code?: number, ms?: number}} fault */
	add(phone, { kind, times = 1, code, ms = 0 }) {
		if (!KINDS.includes(kind)) throw new CallError('bad_arguments', `no fault ${kind}; there are ${KINDS.join(', ')}`)
		if (['error', 'login', 'upload'].includes(kind) && !code) throw new CallError('bad_arguments', `${kind} needs a code`)
		const list = this.#waiting.get(phone) ?? this.#waiting.set(phone, []).get(phone)
		list.push({ kind, left: times === 'always' ? Infinity : times, code, ms })
	}

	clear(phone, kind = undefined) {
		this.#waiting.set(
			phone,
			(this.#waiting.get(phone) ?? []).filter((fault) => kind && fault.kind !== kind),
		)
	}

	/** The next fault of one of these kinds, which is used up by it. */
	take(phone, kinds) {
		const list = this.#waiting.get(phone)
		const fault = list?.find((each) => kinds.includes(each.kind))
		if (fault && --fault.left <= 0) list.splice(list.indexOf(fault), 1)
		return fault
	}

	waiting(phone) {
		return (this.#waiting.get(phone) ?? []).map(({ kind, left, code, ms }) => ({
			kind,
			code,
			ms,
			left: left === Infinity ? 'always' : left,
		}))
	}
}
