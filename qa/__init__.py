"""What an organisation does with transcripts and rules: the night, the store, the scorecards."""
