"""The local Lambda host: Lambda's Invoke API on one machine, with every function run by the genuine `awslambdaric`.

What is deployed stays the emulator's concern; the host only runs it. May not import `fiso`: it runs deployed packages,
never this checkout's code.
"""
