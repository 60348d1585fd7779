/** A session's keys and credentials: they live in the parent's store, sealed, and come and go by reverse calls. */

import { BufferJSON, initAuthCreds, proto } from '@whiskeysockets/baileys'

import { KeyCache } from './caches.js'

/**
 * Baileys' key store over the parent. What is set is on disk when `set` returns, all kinds of it in one transaction.
 *
 * Sets that come while one is on its way go together in the next: a message for many devices sets a key for each.
 */
export class Keys {
	/**
	 * @param {{call: (name: string, args: object) => Promise<any>}} peer
	 * @param {string} session
	 */
	constructor(peer, session) {
		this.peer = peer
		this.session = session
		this.cache = new KeyCache()
		/** What is on its way to the parent, and what goes next: `<kind>.<id>` → {type, id, value, text}. */
		this.flying = null
		this.next = null
	}

	async get(type, ids) {
		const values = {}
		const missing = []
		for (const id of ids) {
			const known = this.#known(type, id)
			if (known === undefined) missing.push(id)
			else if (known !== null) values[id] = known
		}
		if (missing.length === 0) return values
		const texts = await this.peer.call('keys.get', { session: this.session, type, ids: missing })
		for (const id of missing) {
			let value = this.#known(type, id) // set meanwhile: newer than what was fetched
			if (value === undefined) {
				// That there is none is worth keeping too: each send looks for a token that most people never gave us.
				value = typeof texts?.[id] === 'string' ? revive(type, texts[id]) : null
				this.cache.set(`${type}.${id}`, value)
			}
			if (value !== null) values[id] = value
		}
		return values
	}

	async set(values) {
		this.next ??= { entries: new Map() }
		for (const [type, byId] of Object.entries(values)) {
			for (const [id, given] of Object.entries(byId)) {
				const value = given ?? null
				const text = value === null ? null : JSON.stringify(value, BufferJSON.replacer)
				this.next.entries.set(`${type}.${id}`, { type, id, value, text })
			}
		}
		this.next.done ??= this.#after(this.flying, this.next)
		return this.next.done
	}

	#known(type, id) {
		const key = `${type}.${id}`
		const entry = this.next?.entries.get(key) ?? this.flying?.entries.get(key)
		return entry ? entry.value : this.cache.get(key)
	}

	async #after(before, batch) {
		if (before) await before.done.catch(() => {}) // its own callers hear of it
		else await new Promise(setImmediate) // so that a message's keys, the recipient's and the own phone's, go together
		this.next = null
		this.flying = batch
		const data = {}
		for (const { type, id, text } of batch.entries.values()) (data[type] ??= {})[id] = text
		try {
			await this.peer.call('keys.set', { session: this.session, data })
			for (const [key, { value }] of batch.entries) this.cache.set(key, value)
		} catch (error) {
			for (const key of batch.entries.keys()) this.cache.del(key) // what is stored counts
			throw error
		} finally {
			if (this.flying === batch) this.flying = null
		}
	}
}

function revive(type, text) {
	const value = JSON.parse(text, BufferJSON.reviver)
	return type === 'app-state-sync-key' ? proto.Message.AppStateSyncKeyData.fromObject(value) : value
}

/**
 * `keys` for one socket: as soon as `current()` is false, what the socket still writes is dropped.
 *
 * Baileys' queries can hang for a minute after their socket closed, inside of a transaction; what that commits then
 * is older than what the next socket has written since, and would turn a ratchet back.
 */
export function fenced(keys, current) {
	return {
		get: (type, ids) => keys.get(type, ids),
		set: async (values) => {
			if (current()) await keys.set(values)
		},
	}
}

/** The credentials of one session; `value` is the object that Baileys changes in place. */
export class Creds {
	/**
	 * @param {object} peer
	 * @param {string} session
	 * @param {string|null} text as it was stored, null for a session that nobody has paired yet
	 */
	constructor(peer, session, text) {
		this.peer = peer
		this.session = session
		const stored = text === null ? null : JSON.parse(text, BufferJSON.reviver)
		// Asking for a pairing code fills in `me` at once, and with it Baileys logs in instead of registering, which gets
		// 401. Only a phone's signature (`account`) makes a pair: without it, everything starts anew.
		this.value = stored?.account ? stored : initAuthCreds()
		this.saving = null
		this.dirty = false
	}

	/** Whether a phone has paired. */
	get paired() {
		return Boolean(this.value.account)
	}

	/** Store what `value` is now. One call at a time, and none for what a waiting one will carry. */
	save() {
		if (!this.paired) return Promise.resolve()
		this.dirty = true
		this.saving ??= this.#run().finally(() => (this.saving = null))
		return this.saving
	}

	async #run() {
		while (this.dirty) {
			this.dirty = false
			const creds = JSON.stringify(this.value, BufferJSON.replacer)
			await this.peer.call('creds.set', { session: this.session, creds })
		}
	}
}
