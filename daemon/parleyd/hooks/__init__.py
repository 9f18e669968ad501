"""Commands of the user's own that are run when something happens: docs/hooks.md."""
