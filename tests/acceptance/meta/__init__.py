"""The daemon over a whole WhatsApp Business Account, and over 360dialog, as their users have it."""
