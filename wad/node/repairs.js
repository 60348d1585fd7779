/** Defects of Baileys 7.0.0-rc14 and libsignal 6.0.0 that are mended from outside, each as long as it is there. */

import { AsyncResource } from 'node:async_hooks'

import { Curve, generateSignalPubKey } from '@whiskeysockets/baileys'
import libsignal from 'libsignal'

/**
 * Make `Curve.verify` say no.
 *
 * It takes "did not throw" for yes, and libsignal 6 answers false instead of throwing: so neither the server's
 * certificates nor the phone's signature over a new device are checked. `Curve` is one object that all of Baileys
 * shares, so one assignment mends every check.
 */
export function repairVerify() {
	Curve.verify = (key, message, signature) => {
		try {
			return libsignal.curve.verifySignature(generateSignalPubKey(Buffer.from(key)), Buffer.from(message), Buffer.from(signature))
		} catch {
			return false // a key or a signature that is none
		}
	}
}

/**
 * Leave a ratchet as it was where a message does not fit it.
 *
 * A contact's sessions are tried one after another, and each try steps the ratchet before it knows whether the message
 * is for it. The right one then stores them all: those that were tried before it are broken, and what comes over them
 * later is unreadable ("No matching sessions", "Bad MAC"). Two people who write to each other at the same moment have
 * two sessions, so it takes nothing special.
 */
export function repairRatchets() {
	const cipher = libsignal.SessionCipher.prototype
	const { doDecryptWhisperMessage, queueJob } = cipher
	cipher.doDecryptWhisperMessage = async function (message, session) {
		const before = session?.serialize()
		try {
			return await doDecryptWhisperMessage.call(this, message, session)
		} catch (error) {
			if (session) Object.assign(session, session.constructor.deserialize(before))
			throw error
		}
	}
	// Jobs for one address are run by whoever came first, in that one's asynchronous context: another session's, whose
	// transactions are not ours. Each is bound to its own.
	cipher.queueJob = function (job) {
		return queueJob.call(this, AsyncResource.bind(job))
	}
}
