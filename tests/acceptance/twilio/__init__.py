"""The daemon over Twilio, as its users have it."""
