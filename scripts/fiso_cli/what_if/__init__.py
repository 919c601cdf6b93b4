"""`fiso what-if`: what a policy that is not in force would have done, from the log of the one that was."""
