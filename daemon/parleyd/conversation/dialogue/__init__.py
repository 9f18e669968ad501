"""What is said: turns and history, what the agent's events mean for the speaker, what is told to the agent."""
