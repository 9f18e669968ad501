"""The conversation itself: answers, turns and history, and the input of the agent."""
