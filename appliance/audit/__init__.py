"""The audit trail: who did what with which study, in PS3.15 A.5 messages, chained, signed and handed on."""
