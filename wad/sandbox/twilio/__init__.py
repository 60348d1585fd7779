"""Twilio's side of the simulated network: its REST API, its webhooks, and senders whose customers are everybody's."""
