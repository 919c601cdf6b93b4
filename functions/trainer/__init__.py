"""The trainer: training in a platform's container. It reads a folder, writes a folder, and speaks to nobody."""
