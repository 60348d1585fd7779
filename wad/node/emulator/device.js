/** A simulated device's Signal identity: its keys, its sessions and its sender keys, over the real libsignal. */

import {
	DEFAULT_CONNECTION_CONFIG,
	encodeWAMessage,
	generateRegistrationId,
	proto,
	signedKeyPair,
	unpadRandomMax16,
} from '@whiskeysockets/baileys'

import { keyPair, marked } from './curve.js'
import { node, number } from './nodes.js'

const silent = { level: 'silent', child: () => silent, trace() {}, debug() {}, info() {}, warn() {}, error() {}, fatal() {} }

/** Keys in memory. Work of one device is queued by `run`, which is all the isolation that its transactions need. */
function memory() {
	const tables = new Map()
	const table = (type) => tables.get(type) ?? tables.set(type, new Map()).get(type)
	return {
		get: async (type, ids) =>
			Object.fromEntries(ids.filter((id) => table(type).has(id)).map((id) => [id, table(type).get(id)])),
		set: async (data) => {
			for (const [type, values] of Object.entries(data)) {
				for (const [id, value] of Object.entries(values)) {
					if (value === null || value === undefined) table(type).delete(id)
					else table(type).set(id, value)
				}
			}
		},
		transaction: (work) => work(),
		isInTransaction: () => false,
		drop: (type, wanted) => {
			for (const id of table(type).keys()) if (wanted(id)) table(type).delete(id)
		},
	}
}

/**
 * One device. Peers are named by LID, `<lid>:<device>@lid`, whichever way a stanza addressed them: that is where
 * Baileys keeps its sessions too, and one peer must not have two.
 */
export class Device {
	#keys = memory()
	#signal
	#queue = Promise.resolve()
	#preKeyId = 0

	constructor() {
		const signedIdentityKey = keyPair()
		const identity = { private: signedIdentityKey.private, public: signedIdentityKey.public }
		this.creds = {
			signedIdentityKey: identity,
			signedPreKey: signedKeyPair(identity, 1),
			registrationId: generateRegistrationId(),
		}
		this.#signal = DEFAULT_CONNECTION_CONFIG.makeSignalRepository(
			{ creds: this.creds, keys: this.#keys },
			silent,
			async () => [],
		)
	}

	/** Do `work` after all that was asked before: Signal's ratchets need their messages in order. */
	run(work) {
		const result = this.#queue.then(work)
		this.#queue = result.catch(() => {})
		return result
	}

	/** A key bundle with a fresh one-time key, as nodes; `registration` first. */
	async bundle() {
		const id = ++this.#preKeyId
		const preKey = keyPair()
		await this.#keys.set({ 'pre-key': { [id]: preKey } })
		const { registrationId, signedIdentityKey, signedPreKey } = this.creds
		return [
			node('registration', {}, number(registrationId, 4)),
			node('type', {}, Buffer.from([5])),
			node('identity', {}, signedIdentityKey.public),
			node('key', {}, [node('id', {}, number(id, 3)), node('value', {}, preKey.public)]),
			node('skey', {}, [
				node('id', {}, number(signedPreKey.keyId, 3)),
				node('value', {}, signedPreKey.keyPair.public),
				node('signature', {}, signedPreKey.signature),
			]),
		]
	}

	async knows(peer) {
		return (await this.#signal.validateSession(peer)).exists
	}

	/** Begin a session from a peer's bundle. One that is open is archived, so what it still has on the way can be read. */
	async begin(peer, { registrationId, identity, signedPreKey, preKey }) {
		await this.#signal.injectE2ESession({
			jid: peer,
			session: {
				registrationId,
				identityKey: marked(identity),
				signedPreKey: {
					keyId: signedPreKey.id,
					publicKey: marked(signedPreKey.value),
					signature: signedPreKey.signature,
				},
				preKey: preKey && { keyId: preKey.id, publicKey: marked(preKey.value) },
			},
		})
	}

	/** Forget all sessions with a user, and the sender keys that came from them. */
	async forget(lid) {
		this.#keys.drop('session', (id) => id.startsWith(`${lid}_1.`))
		this.#keys.drop('sender-key', (id) => id.includes(`::${lid}_1::`))
	}

	/** @returns {Promise<{type: 'pkmsg'|'msg', ciphertext: Buffer}>} */
	encrypt(peer, message) {
		return this.#signal.encryptMessage({ jid: peer, data: encodeWAMessage(message) })
	}

	/** @returns {Promise<proto.Message>} */
	async decrypt(peer, type, ciphertext) {
		return decoded(await this.#signal.decryptMessage({ jid: peer, type, ciphertext: Buffer.from(ciphertext) }))
	}

	/** @returns {Promise<{ciphertext: Uint8Array, senderKeyDistributionMessage: Uint8Array}>} */
	encryptGroup(group, self, message) {
		return this.#signal.encryptGroupMessage({ group, meId: self, data: encodeWAMessage(message) })
	}

	/** The device's own sender key for a group, to hand out. @returns {Promise<Uint8Array>} */
	senderKey(group, self) {
		return this.#signal.getSenderKeyDistributionMessage({ group, meId: self })
	}

	async decryptGroup(group, peer, ciphertext) {
		return decoded(await this.#signal.decryptGroupMessage({ group, authorJid: peer, msg: Buffer.from(ciphertext) }))
	}

	/** Take a peer's sender key for a group. */
	takeSenderKey(peer, item) {
		return this.#signal.processSenderKeyDistributionMessage({ authorJid: peer, item })
	}
}

const decoded = (padded) => proto.Message.decode(unpadRandomMax16(padded))
