/** The server's half of the Noise handshake that opens every WhatsApp Web connection, and the cipher after it. */

import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'

import { proto } from '@whiskeysockets/baileys'

import { agree, keyPair, sign } from './curve.js'

const PATTERN = Buffer.from('Noise_XX_25519_AESGCM_SHA256\0\0\0\0') // 32 bytes, so it is its own hash
const TAG = 16
const DAY = 86_400

const empty = Buffer.alloc(0)

function counterIv(counter) {
	const iv = Buffer.alloc(12)
	iv.writeUInt32BE(counter, 8)
	return iv
}

function seal(key, counter, plain, extra) {
	const cipher = createCipheriv('aes-256-gcm', key, counterIv(counter))
	cipher.setAAD(extra)
	return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function unseal(key, counter, sealed, extra) {
	const decipher = createDecipheriv('aes-256-gcm', key, counterIv(counter))
	decipher.setAAD(extra)
	decipher.setAuthTag(sealed.subarray(sealed.length - TAG))
	return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - TAG)), decipher.final()])
}

/** The server's long-term identity: a certificate chain from a root of the emulator's own to its static key. */
export class Authority {
	/** @param {{private: Buffer, public: Buffer}} root */
	constructor(root) {
		this.root = root
		this.static = keyPair()
		const { Details } = proto.CertChain.NoiseCertificate
		const now = Math.floor(Date.now() / 1000)
		const validity = { notBefore: now - DAY, notAfter: now + 365 * DAY }
		const intermediate = keyPair()
		// issuerSerial 0 has to be on the wire: clients compare it with the serial of the root.
		const middle = Details.encode({ serial: 1, issuerSerial: 0, key: intermediate.public, ...validity }).finish()
		const leaf = Details.encode({ serial: 2, issuerSerial: 1, key: this.static.public, ...validity }).finish()
		this.chain = proto.CertChain.encode({
			intermediate: { details: middle, signature: sign(root.private, middle) },
			leaf: { details: leaf, signature: sign(intermediate.private, leaf) },
		}).finish()
	}
}

/** One connection's handshake: `hello` answers the client's first message, `finish` reads its second. */
export class Responder {
	#hash = PATTERN
	#salt = PATTERN
	#key = PATTERN
	#counter = 0
	#ephemeral = keyPair()
	#authority
	#clientEphemeral

	/**
	 * @param {Authority} authority
	 * @param {Buffer} header the four bytes with which the client opened
	 */
	constructor(authority, header) {
		this.#authority = authority
		this.#mixHash(header)
	}

	/** @returns {Uint8Array} the answer to a client's hello */
	hello(bytes) {
		const { clientHello } = proto.HandshakeMessage.decode(bytes)
		this.#clientEphemeral = Buffer.from(clientHello.ephemeral)
		this.#mixHash(this.#clientEphemeral)
		this.#mixHash(this.#ephemeral.public)
		this.#mixKey(agree(this.#ephemeral.private, this.#clientEphemeral))
		const sealedStatic = this.#encrypt(this.#authority.static.public)
		this.#mixKey(agree(this.#authority.static.private, this.#clientEphemeral))
		return proto.HandshakeMessage.encode({
			serverHello: {
				ephemeral: this.#ephemeral.public,
				static: sealedStatic,
				payload: this.#encrypt(this.#authority.chain),
			},
		}).finish()
	}

	/** @returns {{noiseKey: Buffer, payload: object, transport: Transport}} who the client is, and what follows */
	finish(bytes) {
		const { clientFinish } = proto.HandshakeMessage.decode(bytes)
		const noiseKey = this.#decrypt(Buffer.from(clientFinish.static))
		this.#mixKey(agree(this.#ephemeral.private, noiseKey))
		const payload = proto.ClientPayload.decode(this.#decrypt(Buffer.from(clientFinish.payload)))
		const [fromClient, toClient] = this.#derive(empty)
		return { noiseKey, payload, transport: new Transport(fromClient, toClient) }
	}

	#mixHash(bytes) {
		this.#hash = createHash('sha256').update(this.#hash).update(bytes).digest()
	}

	#derive(secret) {
		const bytes = Buffer.from(hkdfSync('sha256', secret, this.#salt, empty, 64))
		return [bytes.subarray(0, 32), bytes.subarray(32)]
	}

	#mixKey(secret) {
		;[this.#salt, this.#key] = this.#derive(secret)
		this.#counter = 0
	}

	#encrypt(plain) {
		const sealed = seal(this.#key, this.#counter++, plain, this.#hash)
		this.#mixHash(sealed)
		return sealed
	}

	#decrypt(sealed) {
		const plain = unseal(this.#key, this.#counter++, sealed, this.#hash)
		this.#mixHash(sealed)
		return plain
	}
}

/** The cipher after the handshake: a key and a counter each way. */
export class Transport {
	#reads = 0
	#writes = 0

	constructor(readKey, writeKey) {
		this.readKey = readKey
		this.writeKey = writeKey
	}

	open(sealed) {
		return unseal(this.readKey, this.#reads++, sealed, empty)
	}

	close(plain) {
		return seal(this.writeKey, this.#writes++, plain, empty)
	}
}
