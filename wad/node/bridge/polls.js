/** Polls of ours: the secret that their votes come under, and what these say. */

import { createHmac } from 'node:crypto'

import { decryptPollVote, jidNormalizedUser, normalizeMessageContent } from '@whiskeysockets/baileys'

/** The secret of the poll `id`, 32 bytes: made of the session's own key, so that it is the same ever after and kept nowhere. */
export const pollSecret = (key, id) => createHmac('sha256', Buffer.from(key, 'base64')).update(`poll ${id}`).digest()

/**
 * The options that a vote names, as SHA-256 of their texts in hex; null for what is no vote in a poll of ours.
 *
 * @param {object} message of Baileys
 * @param {string} key the session's
 * @param {{id: string, lid?: string}} me
 */
export function chosen({ key: { remoteJid, remoteJidAlt, participant, participantAlt }, message }, key, me) {
	const { pollCreationMessageKey: poll, vote } = normalizeMessageContent(message)?.pollUpdateMessage ?? {}
	if (!poll?.fromMe || !vote) return null
	const names = (...jids) => jids.filter(Boolean).map(jidNormalizedUser)
	// Both are named in what the vote is sealed with, by number or by LID: whichever the voter's phone had at hand.
	for (const pollCreatorJid of names(me.id, me.lid)) {
		for (const voterJid of participant ? names(participant, participantAlt) : names(remoteJid, remoteJidAlt)) {
			try {
				const of = { pollCreatorJid, voterJid, pollMsgId: poll.id, pollEncKey: pollSecret(key, poll.id) }
				return decryptPollVote(vote, of).selectedOptions.map((hash) => Buffer.from(hash).toString('hex'))
			} catch {
				continue // not by these names; by none of them: it stays as it came
			}
		}
	}
	return null
}
