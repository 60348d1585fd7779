/** Curve25519 as Signal and Noise use it: key pairs, agreement, signatures; raw 32-byte public keys throughout. */

import { createPrivateKey, createPublicKey } from 'node:crypto'

import * as signal from 'libsignal/src/curve.js'

// libsignal.js exports through CommonJS: named where Node finds the names, else under default.
const curve = signal.default ?? signal

const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex') // RFC 8410: the DER that precedes a raw X25519 key
const RAW = 32

/** A public key in Signal's form: 0x05 before the 32 bytes. */
export const marked = (key) => (key.length === RAW + 1 ? Buffer.from(key) : Buffer.concat([Buffer.from([5]), key]))

/** @returns {{private: Buffer, public: Buffer}} */
export function keyPair() {
	const { privKey, pubKey } = curve.generateKeyPair()
	return { private: Buffer.from(privKey), public: Buffer.from(pubKey).subarray(1) }
}

/** The key pair of a private key that is given. */
export function keyPairOf(privateKey) {
	const key = createPrivateKey({ key: Buffer.concat([PKCS8, privateKey]), format: 'der', type: 'pkcs8' })
	const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
	return { private: Buffer.from(privateKey), public: spki.subarray(spki.length - RAW) }
}

/** @returns {Buffer} */
export const agree = (privateKey, publicKey) =>
	Buffer.from(curve.calculateAgreement(marked(Buffer.from(publicKey)), Buffer.from(privateKey)))

/** @returns {Buffer} 64 bytes */
export const sign = (privateKey, bytes) => curve.calculateSignature(Buffer.from(privateKey), Buffer.from(bytes))

/** Whether `signature` is right; the boolean that Baileys' own Curve.verify of 7.0.0-rc14 throws away. */
export function verified(publicKey, bytes, signature) {
	if (publicKey?.length !== RAW || signature?.length !== 64) return false
	return curve.verifySignature(marked(Buffer.from(publicKey)), Buffer.from(bytes), Buffer.from(signature))
}
