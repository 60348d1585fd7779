/** The Signal layer of a session, with its three moments told: a message deciphered, one enciphered, a number's LID learnt. */

import { DEFAULT_CONNECTION_CONFIG } from '@whiskeysockets/baileys'

/**
 * For Baileys' `makeSignalRepository`.
 *
 * A message that was deciphered cannot be deciphered again: its key is spent as soon as the transaction commits. So
 * `deciphered` runs inside that transaction, between the deciphering and the commit, and what it throws undoes both.
 * (A transaction inside another is part of it; the outer one takes the same lock that the inner one would.)
 *
 * @param {object} told
 * @param {(ciphertext: Uint8Array, plaintext: Uint8Array) => Promise<void>} told.deciphered
 * @param {() => void} told.enciphering
 * @param {(pairs: {lid: string, pn: string}[]) => void} told.paired
 */
export function signal({ deciphered, enciphering, paired }) {
	return (auth, logger, lookUp) => {
		const repository = DEFAULT_CONNECTION_CONFIG.makeSignalRepository(auth, logger, lookUp)

		const { decryptMessage, decryptGroupMessage, encryptMessage, encryptGroupMessage } = repository
		const decipher = (work, ciphertext, lock) =>
			auth.keys.transaction(async () => {
				const plaintext = await work()
				await deciphered(ciphertext, plaintext)
				return plaintext
			}, lock)
		repository.decryptMessage = (args) => decipher(() => decryptMessage(args), args.ciphertext, args.jid)
		repository.decryptGroupMessage = (args) => decipher(() => decryptGroupMessage(args), args.msg, args.group)
		repository.encryptMessage = (args) => {
			enciphering()
			return encryptMessage(args)
		}
		repository.encryptGroupMessage = (args) => {
			enciphering()
			return encryptGroupMessage(args)
		}

		const mapping = repository.lidMapping
		const store = mapping.storeLIDPNMappings.bind(mapping)
		mapping.storeLIDPNMappings = async (pairs) => {
			await store(pairs)
			paired(pairs)
		}
		return repository
	}
}
