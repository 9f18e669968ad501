"""Announcements, which are spoken without a conversation: when they may begin, how their sound is fetched, and how they
are reported."""
