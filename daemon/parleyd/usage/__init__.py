"""What sessions cost: minutes, bytes, budgets, quiet hours."""
