/** Whom the bridge trusts: the root of WhatsApp's certificates. */

import { WA_CERT_DETAILS } from '@whiskeysockets/baileys'

import { CallError } from '../lines.js'

const WHATSAPP = WA_CERT_DETAILS.PUBLIC_KEY
let named = null

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
