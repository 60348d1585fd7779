/** How a phone links a client: by the QR that the client shows, or by the code that the person types in. */

import { createCipheriv, createDecipheriv, createHmac, hkdfSync, pbkdf2, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'

import { proto } from '@whiskeysockets/baileys'

import { CallError } from '../lines.js'
import { Companion } from './companion.js'
import { agree, keyPair, sign, verified } from './curve.js'
import { SERVER, bytes, child, node, seconds } from './nodes.js'
import { answerPeer, devicesChanged } from './phone.js'
import { messageId } from './saying.js'

const ACCOUNT = Buffer.from([6, 0]) // what precedes a signature of the account over a device
const DEVICE = Buffer.from([6, 1]) // and one of the device over the account
const ROUNDS = 131_072 // of PBKDF2, for pairing codes
const PATIENCE = 10_000 // ms for a client to do its part

const hkdf = (secret, salt, info) => Buffer.from(hkdfSync('sha256', secret, salt, info, 32))
const derive = promisify(pbkdf2)
const codeKey = (code, salt) => derive(Buffer.from(code), salt, ROUNDS, 32, 'sha256')

/** Wait for `promise`, or say who kept us waiting. */
async function patiently(promise, what) {
	let timer
	const late = new Promise(
		(_, reject) => (timer = setTimeout(() => reject(new CallError('timeout', `${what} took over ${PATIENCE} ms`)), PATIENCE)),
	)
	try {
		return await Promise.race([promise, late])
	} finally {
		clearTimeout(timer)
	}
}

/** The parts of a QR's text. */
export function parseQr(qr) {
	const [ref, noise, identity, adv] = qr.slice(qr.indexOf('#') + 1).split(',')
	if (!adv) throw new CallError('bad_qr', 'not the text of a WhatsApp QR code')
	return {
		ref,
		noiseKey: Buffer.from(noise, 'base64'),
		identity: Buffer.from(identity, 'base64'),
		advSecret: Buffer.from(adv, 'base64'),
	}
}

/**
 * Link a client that showed its keys: sign them with the account's identity, have the client sign back, and let it
 * connect again as a device of this account.
 *
 * @param {object} applicant a registering connection: {connection, keys, query}
 * @returns {Promise<Companion>}
 */
export async function link(world, person, applicant, { identity, advSecret }) {
	const { registrationId, signedPreKey, noiseKey } = applicant.keys
	if (!identity.equals(applicant.keys.identity)) throw new CallError('bad_qr', 'the code names other keys than the client has')
	const device = ++person.lastDevice
	const account = person.device.creds.signedIdentityKey
	const details = proto.ADVDeviceIdentity.encode({
		rawId: device,
		timestamp: Math.floor(Date.now() / 1000),
		keyIndex: device,
		accountType: 0,
		deviceType: 0,
	}).finish()
	const accountSignature = sign(account.private, Buffer.concat([ACCOUNT, details, identity]))
	const signed = proto.ADVSignedDeviceIdentity.encode({
		details,
		accountSignatureKey: account.public,
		accountSignature,
	}).finish()
	const hmac = createHmac('sha256', advSecret).update(signed).digest()
	const blob = proto.ADVSignedDeviceIdentityHMAC.encode({ details: signed, hmac }).finish()
	const reply = await patiently(
		applicant.query(
			node('iq', { from: SERVER, type: 'set', xmlns: 'md', t: seconds() }, [
				node('pair-success', {}, [
					node('device-identity', {}, blob),
					node('device', { jid: person.jid('s.whatsapp.net', device), lid: person.jid('lid', device) }),
					node('platform', { name: 'android' }),
					// A business account's name comes with the pairing. A private one's comes with settings that are not simulated,
					// and a client without a name never says that it is available.
					node('biz', { name: person.name }),
				]),
			]),
		),
		'the client, to sign the account',
	)
	const answer = child(child(reply, 'pair-device-sign'), 'device-identity')
	const { deviceSignature, details: echoed } = proto.ADVSignedDeviceIdentity.decode(bytes(answer))
	if (
		!Buffer.from(echoed).equals(Buffer.from(details)) ||
		!verified(identity, Buffer.concat([DEVICE, details, identity, account.public]), deviceSignature)
	) {
		applicant.connection.cut()
		throw new CallError('bad_signature', 'the client did not sign the account as it should')
	}
	const companion = new Companion(person, { device, noiseKey, identity, registrationId, signedPreKey, name: applicant.name })
	person.companions.set(device, companion)
	person.isAccount = true
	person.device.peerMessage = (message, client) => answerPeer(world, person, client, message)
	devicesChanged(world, person)
	world.tell('linked', { phone: person.phone, device, name: applicant.name })
	applicant.connection.end(node('stream:error', { code: '515' }))
	return companion
}

/** Whether a stanza's device identity proves that `companion` belongs to its account: what a recipient checks. */
export function proves(companion, content) {
	const { details, accountSignatureKey, accountSignature, deviceSignature } = proto.ADVSignedDeviceIdentity.decode(content)
	const account = companion.person.device.creds.signedIdentityKey.public
	return (
		Buffer.from(accountSignatureKey ?? []).equals(account) &&
		verified(account, Buffer.concat([ACCOUNT, details, companion.identity]), accountSignature) &&
		verified(companion.identity, Buffer.concat([DEVICE, details, companion.identity, account]), deviceSignature)
	)
}

/** The keys that a registering client shows. */
export function applicantKeys(noiseKey, { eRegid, eIdent, eSkeyId, eSkeyVal, eSkeySig }) {
	return {
		noiseKey,
		registrationId: Buffer.from(eRegid).readUInt32BE(),
		identity: Buffer.from(eIdent),
		signedPreKey: {
			id: Buffer.from(eSkeyId).readUIntBE(0, 3),
			value: Buffer.from(eSkeyVal),
			signature: Buffer.from(eSkeySig),
		},
	}
}

/** A client asks to be linked by a code (`companion_hello`); what the phone will need of it. */
export function codeRequest(registration) {
	const wrapped = bytes(child(registration, 'link_code_pairing_wrapped_companion_ephemeral_pub'))
	return {
		salt: wrapped.subarray(0, 32),
		iv: wrapped.subarray(32, 48),
		wrapped: wrapped.subarray(48, 80),
		ref: randomBytes(16),
		finish: null,
	}
}

/** The person types a code into the phone. @returns {Promise<Companion>} */
export async function enterCode(world, person, applicant, code) {
	const { salt, iv, wrapped, ref } = applicant.code
	const opener = createDecipheriv('aes-256-ctr', await codeKey(code, salt), iv)
	const companionKey = Buffer.concat([opener.update(wrapped), opener.final()])
	const ephemeral = keyPair()
	const account = person.device.creds.signedIdentityKey
	const [ownSalt, ownIv] = [randomBytes(32), randomBytes(16)]
	const closer = createCipheriv('aes-256-ctr', await codeKey(code, ownSalt), ownIv)
	const ownWrapped = Buffer.concat([ownSalt, ownIv, closer.update(ephemeral.public), closer.final()])
	const finished = new Promise((resolve) => (applicant.code.finish = resolve))
	applicant.connection.send(
		node('notification', { from: SERVER, id: messageId(), type: 'link_code_companion_reg', t: seconds() }, [
			node('link_code_companion_reg', { stage: 'primary_hello' }, [
				node('link_code_pairing_wrapped_primary_ephemeral_pub', {}, ownWrapped),
				node('primary_identity_pub', {}, account.public),
				node('link_code_pairing_ref', {}, ref),
			]),
		]),
	)
	const registration = await patiently(finished, 'the client, to finish the pairing')
	const bundle = bytes(child(registration, 'link_code_pairing_wrapped_key_bundle'))
	const identity = bytes(child(registration, 'companion_identity_public'))
	const shared = agree(ephemeral.private, companionKey)
	const random = openBundle(bundle, shared, [identity, account.public])
	const secret = Buffer.concat([shared, agree(account.private, identity), random])
	return link(world, person, applicant, { identity, advSecret: hkdf(secret, Buffer.alloc(0), 'adv_secret') })
}

/** The random part of a key bundle, once its keys are those expected; a wrong code shows here first. */
function openBundle(bundle, shared, [identity, account]) {
	const key = hkdf(shared, bundle.subarray(0, 32), 'link_code_pairing_key_bundle_encryption_key')
	const opener = createDecipheriv('aes-256-gcm', key, bundle.subarray(32, 44))
	opener.setAuthTag(bundle.subarray(bundle.length - 16))
	let plain
	try {
		plain = Buffer.concat([opener.update(bundle.subarray(44, bundle.length - 16)), opener.final()])
	} catch {
		throw new CallError('wrong_code', 'the code is not the one that the client shows')
	}
	if (!plain.subarray(0, 32).equals(identity) || !plain.subarray(32, 64).equals(account))
		throw new CallError('wrong_code', 'the keys are not those of this pairing')
	return plain.subarray(64)
}
