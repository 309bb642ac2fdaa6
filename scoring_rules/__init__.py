"""A rule language for service talk, and its packs. Needs only something shaped like a conversation."""
