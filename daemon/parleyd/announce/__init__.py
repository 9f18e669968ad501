"""Announcements: texts that are spoken in the room without a conversation.

announcer.Announcer fetches the sound and plays it when gap.py lets it begin; budget_notice and confirmation_notice turn
events into announcements. Only app and control import it.
"""
