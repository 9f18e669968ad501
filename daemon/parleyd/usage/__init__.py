"""The cost of sessions: minutes, bytes, budgets, quiet hours."""
