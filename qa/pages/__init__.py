"""The pages of the app. A page reads a query, draws, and sends one command; it holds no SQL and no rule."""
