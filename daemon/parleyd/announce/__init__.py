"""Texts that are spoken without a conversation: when they may begin, and how they are fetched and told."""
