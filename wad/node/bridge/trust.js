/** Whom the bridge trusts: repairs Baileys' signature check, and names the root of WhatsApp's certificates. */

import { Curve, generateSignalPubKey, WA_CERT_DETAILS } from '@whiskeysockets/baileys'
import curve from 'libsignal/src/curve.js'

import { CallError } from '../lines.js'

const WHATSAPP = WA_CERT_DETAILS.PUBLIC_KEY
let named = null

/**
 * Make `Curve.verify` say no.
 *
 * In 7.0.0-rc14 it takes "did not throw" for yes, and libsignal 6 answers false instead of throwing: so neither the
 * server's certificates nor the phone's signature over a new device are checked. `Curve` is one object that all of
 * Baileys shares, so one assignment mends every check.
 */
export function repairVerify() {
	Curve.verify = (key, message, signature) => {
		try {
			return curve.verifySignature(generateSignalPubKey(Buffer.from(key)), Buffer.from(message), Buffer.from(signature))
		} catch {
			return false // a key or a signature that is none
		}
	}
}

/**
 * Trust the certificates below `hex`, or WhatsApp's own with null.
 *
 * Baileys has one root for the whole process, so all sessions of a bridge share it: a second one is refused.
 *
 * @param {string|null} hex 32 bytes
 */
export function trustRoot(hex) {
	const root = hex ?? WHATSAPP.toString('hex')
	if (!/^[0-9a-f]{64}$/i.test(root)) throw new CallError('bad_settings', 'rootKey is not 32 bytes in hexadecimal')
	if (named !== null && named !== root.toLowerCase()) {
		throw new CallError('bad_settings', 'a bridge has one rootKey, and another one is in use')
	}
	named = root.toLowerCase()
	WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(named, 'hex')
}
