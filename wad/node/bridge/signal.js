/** The Signal layer of a session, with its three moments told: a message deciphered, one enciphered, a number's LID learnt. */

import { addTransactionCapability, DEFAULT_CONNECTION_CONFIG, isPnUser, proto, unpadRandomMax16 } from '@whiskeysockets/baileys'

/**
 * For Baileys' `makeSignalRepository`.
 *
 * Its keys are in transactions of its own. Baileys would make them part of the one round a whole send, which commits
 * when the frame has left: a kill between the two leaves a recipient one step ahead of us, and what it says next cannot
 * be read.
 *
 * Their locks are by the address that a session is stored under. Baileys takes the JID as it comes, a number here and a
 * LID there, so that a send and a receipt of one contact would each write back a ratchet that the other has moved.
 *
 * A message that was deciphered cannot be deciphered again: its key is spent as soon as the transaction commits. So
 * `deciphered` runs inside that transaction, between the deciphering and the commit, and what it throws undoes both.
 * (A transaction inside another is part of it.)
 *
 * The key of a group's member comes inside such a message, beside the first one that it opens. Baileys takes it out after
 * the commit: a kill between the two loses it, and with it all that this member says until there is a new one. So it is
 * taken out inside the transaction, too.
 *
 * @param {object} keys the session's, fenced
 * @param {object} told
 * @param {(ciphertext: Uint8Array, plaintext: Uint8Array) => Promise<void>} told.deciphered
 * @param {(ciphertext: Uint8Array) => string|undefined} told.author the member of a group who sent it
 * @param {() => void} told.enciphering
 * @param {(pairs: {lid: string, pn: string}[]) => void} told.paired
 */
export function signal(keys, { deciphered, author, enciphering, paired }) {
	return ({ creds }, logger, lookUp) => {
		const { makeSignalRepository, transactionOpts } = DEFAULT_CONNECTION_CONFIG
		const own = addTransactionCapability(keys, logger, transactionOpts)
		const repository = makeSignalRepository({ creds, keys: own }, logger, lookUp)

		const mapping = repository.lidMapping
		const locked = async (jid, work) => own.transaction(work, (isPnUser(jid) && (await mapping.getLIDForPN(jid))) || jid)
		const { decryptMessage, decryptGroupMessage, encryptMessage, encryptGroupMessage, injectE2ESession } = repository
		const { processSenderKeyDistributionMessage: learn } = repository
		const decipher = (jid, ciphertext, work) =>
			locked(jid, async () => {
				const plaintext = await work()
				await deciphered(ciphertext, plaintext)
				return plaintext
			})
		const encipher = (jid, work) => {
			enciphering()
			return locked(jid, work)
		}
		const learnt = new Set() // what Baileys is about to bring once more: a second copy would push out an older key
		const named = ({ authorJid, item }) => `${authorJid} ${Buffer.from(item.axolotlSenderKeyDistributionMessage).toString('base64')}`
		repository.processSenderKeyDistributionMessage = async (args) => {
			if (!learnt.delete(named(args))) await learn(args)
		}
		const learnFrom = async (plaintext, authorJid) => {
			const item = authorJid && proto.Message.decode(unpadRandomMax16(plaintext)).senderKeyDistributionMessage
			if (!item?.groupId) return
			await learn({ authorJid, item })
			learnt.add(named({ authorJid, item }))
		}
		repository.decryptMessage = (args) =>
			decipher(args.jid, args.ciphertext, async () => {
				const plaintext = await decryptMessage(args)
				await learnFrom(plaintext, author(args.ciphertext))
				return plaintext
			})
		repository.decryptGroupMessage = (args) => decipher(args.group, args.msg, () => decryptGroupMessage(args))
		repository.encryptMessage = (args) => encipher(args.jid, () => encryptMessage(args))
		repository.encryptGroupMessage = (args) => encipher(args.group, () => encryptGroupMessage(args))
		repository.injectE2ESession = (args) => locked(args.jid, () => injectE2ESession(args))

		const store = mapping.storeLIDPNMappings.bind(mapping)
		mapping.storeLIDPNMappings = async (pairs) => {
			await store(pairs)
			paired(pairs)
		}
		return repository
	}
}
