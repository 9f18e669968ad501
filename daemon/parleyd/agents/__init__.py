"""Voice agents behind one interface (agent.py), a package for each provider. They know nothing of one another."""
