"""What each command does; the words are in the message catalogues."""
