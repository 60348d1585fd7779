"""Twilio's WhatsApp: one sender, or one messaging service, one session. Spoken to through Twilio's own SDK.

The SDK knows the paths and the parameters; the wire is ours (`transport`), and what an answer means is decided there,
by our table. A daemon without Twilio sessions imports none of the SDK but its signatures, which cost nothing.
"""
