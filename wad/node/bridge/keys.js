/** A session's keys and credentials: they live in the parent's store, sealed, and come and go by reverse calls. */

import { BufferJSON, initAuthCreds, makeCacheableSignalKeyStore, proto } from '@whiskeysockets/baileys'

import { KeyCache } from './caches.js'

/**
 * Baileys' key store over the parent. A `set` carries all its kinds in one call, which the parent keeps in one
 * transaction; it is on disk when it returns.
 *
 * @param {{call: (name: string, args: object) => Promise<any>}} peer
 * @param {string} session
 * @param {object} logger
 */
export function makeKeys(peer, session, logger) {
	return makeCacheableSignalKeyStore(
		{
			async get(type, ids) {
				const texts = await peer.call('keys.get', { session, type, ids })
				const values = {}
				for (const id of ids) {
					if (typeof texts?.[id] !== 'string') continue
					const value = JSON.parse(texts[id], BufferJSON.reviver)
					values[id] = type === 'app-state-sync-key' ? proto.Message.AppStateSyncKeyData.fromObject(value) : value
				}
				return values
			},
			async set(values) {
				const data = {}
				for (const [type, byId] of Object.entries(values)) {
					data[type] = {}
					for (const [id, value] of Object.entries(byId)) {
						const gone = value === null || value === undefined
						data[type][id] = gone ? null : JSON.stringify(value, BufferJSON.replacer)
					}
				}
				await peer.call('keys.set', { session, data })
			},
		},
		logger,
		new KeyCache(),
	)
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
