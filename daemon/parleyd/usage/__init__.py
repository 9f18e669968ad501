"""The cost of sessions: minutes, tokens, money, bytes, budgets, quiet hours.

limits.UsageLimits says whether a session may be open, meter.UsageMeter books the time used, and ledger and store keep
it over a restart. Only app, checks, cli, control, conversation and profiles import it.
"""
