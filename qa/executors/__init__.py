"""Where the heavy stages run: `local` on this machine's processors and GPUs."""
