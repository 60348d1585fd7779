/** What became of every message, both ways, exactly: the oracle for tests that kill things. */

const TELL_AFTER = 20 // ms

/**
 * One entry per message id, account and direction. `n` is its place by creation, `changed` grows with every change, so a
 * reader that remembers the highest `changed` it saw asks only for what is new.
 *
 * direction "out", from a linked client:
 *   account, chat (phone or group id), id, at, type
 *   sent        stanzas with this id that reached the server (a resend under the same id is one more, also one that a
 *               phone's retry receipt caused: Baileys then sends to everybody anew)
 *   resent      those of them that were for the one linked client that had asked for it again
 *   acked       times (ms) of acks without an error
 *   refused     error codes of acks
 *   dropped     stanzas that a fault swallowed
 *   recipients  {phone: {decrypted, undecryptable, shown, shownAt, content}}: `decrypted` counts the copies that could be
 *               read, `shown` how many the person saw, which is never more than one
 *   receipts    {phone: {delivered, read, played}} times of the first receipt of each kind that went to the client
 *
 * direction "in", to a linked client:
 *   account, chat, from, id, at, content
 *   said        how often the person said it (the same id on purpose is more than one)
 *   resent      copies that answered a retry receipt
 *   retries     retry receipts of the client
 *   received    time of the client's receipt, or null; with it the client has taken the message for good
 *   receipt     the type of that receipt ("" is a plain one)
 *   nacked      error codes with which the client refused copies
 *   read        time of its read receipt, or null
 *   revived     times the own phone gave it again on request
 */
export class Ledger {
	#entries = new Map()
	#changes = []
	#first = 0
	#made = 0
	#toTell = false
	/** Hears that there is something new, and the number up to which; a burst of changes is told once. */
	changed = (_last) => {}

	/** The entry of a message that a client of `account` sent; made when new. */
	out(account, id, facts) {
		return this.#entry(`${account}>${id}`, () => ({
			direction: 'out',
			account,
			id,
			...facts,
			at: Date.now(),
			sent: 0,
			resent: 0,
			acked: [],
			refused: [],
			dropped: 0,
			recipients: {},
			receipts: {},
		}))
	}

	/** The entry of a message that is on its way to a client of `account`; made when `facts` are given. */
	in(account, id, facts) {
		return this.#entry(
			`${account}<${id}`,
			facts &&
				(() => ({
					direction: 'in',
					account,
					id,
					...facts,
					at: Date.now(),
					said: 0,
					resent: 0,
					retries: 0,
					received: null,
					receipt: null,
					nacked: [],
					read: null,
					revived: 0,
				})),
		)
	}

	/** An outgoing entry, if there is one. */
	sentBy(account, id) {
		return this.#entries.get(`${account}>${id}`)
	}

	#entry(key, make) {
		let entry = this.#entries.get(key)
		if (!entry && make) {
			entry = { n: ++this.#made, changed: 0, ...make() }
			this.#entries.set(key, entry)
			this.touch(entry)
		}
		return entry
	}

	/** Note that an entry changed. */
	touch(entry) {
		this.#changes.push(entry)
		entry.changed = this.#first + this.#changes.length
		if (this.#toTell) return
		this.#toTell = true
		setTimeout(() => {
			this.#toTell = false
			this.changed(this.#first + this.#changes.length)
		}, TELL_AFTER)
	}

	/** Entries that changed after `after`, oldest change first, and the number to ask with next. */
	since(after = 0) {
		const entries = []
		for (let at = Math.max(0, after - this.#first); at < this.#changes.length; at++) {
			const entry = this.#changes[at]
			if (entry.changed === this.#first + at + 1) entries.push(entry)
		}
		return { entries, last: this.#first + this.#changes.length }
	}

	/** Forget entries that have not changed after `upTo`: a long run's memory. Recipients still know the ids they saw. */
	forget(upTo) {
		for (const [key, entry] of this.#entries) if (entry.changed <= upTo) this.#entries.delete(key)
		const gone = Math.max(0, Math.min(upTo - this.#first, this.#changes.length))
		this.#changes.splice(0, gone)
		this.#first += gone
	}
}
