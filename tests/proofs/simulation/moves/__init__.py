"""What may happen next in a history, by who or what does it. Each move returns a sentence for the trace."""
