"""Voice agents behind one interface (agent.py), a package for each provider. Providers are independent of one
another."""
