"""A conversation in writing, on a terminal or through a pipe.

`parleyd chat` opens a link, which is the running daemon or an agent of its own, and gives it to talk.Talk or pipe; view
chooses which events are shown, screen and wrap lay them out, prompt reads the person's lines. Only cli and setup
import it.
"""
